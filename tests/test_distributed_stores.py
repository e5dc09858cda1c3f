# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels in stores of zarr: nothing is lost, nothing trusted."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastntk
from fastntk import infinite
from fastntk._cli import cli
from fastntk._support.dask_workers import Workers

dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")
pytest.importorskip("distributed", reason="needs fastntk[distributed]")
pytest.importorskip("zarr", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk.distributed import clusters, stores  # noqa: E402

X = np.random.default_rng(0).standard_normal((150, 6))
NET = fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)
K = NET.ntk(X)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "K.zarr")


@pytest.fixture
def kept(path: str) -> str:
    """A store that is complete, computed in this process."""
    with dask.config.set(scheduler="synchronous"):
        distributed.store(path, NET, X, chunks=40)
    return path


def read(path: str) -> Any:
    return distributed.load(path).compute(scheduler="synchronous")


def tile(path: str, i: int, j: int) -> Path:
    return Path(path) / "c" / str(i) / str(j)


def test_a_run_that_was_stopped_goes_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distributed.store(path, NET, X, chunks=40, progress=stop)
    with pytest.raises(ValueError, match="is not complete: expected a store with all tiles"):
        distributed.load(path)
    stored = distributed.store(path, NET, X, chunks=40)
    assert (stored.found, stored.computed) == (4, 6)
    assert np.array_equal(stored.array().compute(), K)
    assert str(stored) == f"{path}: 6 tiles computed, 4 found there"


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def of_another_tile(file: Path) -> None:
    shutil.copy(file.parent.parent / "0" / "0", file)


def of_a_tile_off_the_diagonal(file: Path) -> None:
    shutil.copy(file.parent.parent / "0" / "1", file)


@pytest.mark.parametrize(
    ("damage", "i", "j"),
    [
        (truncated, 1, 2),
        (empty, 2, 2),
        (flipped, 3, 0),
        (of_another_tile, 1, 2),
        (of_another_tile, 2, 1),
        (of_a_tile_off_the_diagonal, 2, 2),
        (Path.unlink, 3, 3),
    ],
)
def test_damaged_tiles_are_computed_again(kept: str, damage: Any, i: int, j: int) -> None:
    damage(tile(kept, i, j))
    stored = distributed.store(kept, NET, X, chunks=40)
    assert (stored.found, stored.computed) == (9, 1)
    assert stored.damaged == (damage is not Path.unlink)
    assert np.array_equal(read(kept), K)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", ["trace", "diagonal", "full", 1])
def test_tiles_on_the_diagonal_are_their_own_mirror_images(
    path: str, outputs: Any, dtype: str
) -> None:
    """Of kernels of all outputs with their outputs exchanged: none is taken for damaged."""
    for _ in range(2):
        stored = distributed.store(path, NET, X[:20], chunks=15, outputs=outputs, dtype=dtype)
    assert (stored.found, stored.damaged) == (3, 0)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_tiles_of_infinite_width_are_found_again(path: str, activation: str) -> None:
    net = infinite.Network(2, activation, bias_std=0.1)
    for _ in range(2):
        stored = distributed.store(path, net, X[:20], chunks=15)
    assert (stored.found, stored.damaged) == (3, 0)


def test_a_store_is_found_from_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stored = distributed.store("K.zarr", NET, X[:20], chunks=15)
    monkeypatch.chdir("/")
    assert stored.path == str(tmp_path / "K.zarr")
    np.testing.assert_array_equal(stored.array().compute(), NET.ntk(X[:20]))


def test_samples_that_are_none(path: str) -> None:
    """In blocks they are refused in the words that arrays are."""
    empty_samples = dask.array.zeros((0, 6))
    with pytest.raises(ValueError, match=r"X has shape \(0, 6\): expected at least one row and co"):
        distributed.store(path, NET, empty_samples)
    with pytest.raises(
        ValueError, match=r"X has shape \(6,\): expected a matrix, one sample a row"
    ):
        distributed.store(path, NET, dask.array.zeros(6))


def test_a_damaged_tile_is_not_read(kept: str) -> None:
    flipped(tile(kept, 3, 3))
    with pytest.raises(ValueError, match="checksum"):
        read(kept)


def test_of_a_symmetric_kernel_one_half_is_read(kept: str) -> None:
    """The mirror images are for other readers."""
    truncated(tile(kept, 3, 0))
    assert np.array_equal(read(kept), K)
    some = distributed.load(kept)[85:, 3:90]
    assert np.array_equal(some.compute(scheduler="synchronous"), K[85:, 3:90])
    with dask.config.set(scheduler="synchronous"):
        distributed.store(kept + ".Z.zarr", NET, X, X, chunks=40)
    truncated(tile(kept + ".Z.zarr", 3, 0))
    with pytest.raises(ValueError, match="checksum"):
        read(kept + ".Z.zarr")


@pytest.mark.parametrize(
    ("others", "difference"),
    [
        ({"net": fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=3)}, "network"),
        ({"layer_weights": [1, 0, 0]}, "network"),
        ({"net": infinite.Network(2)}, "kind of kernel"),
        ({"X": X + 1}, "samples X"),
        ({"Z": X[:9]}, "samples Z"),
        ({"outputs": 1}, "outputs"),
        ({"dtype": "float32"}, "precision"),
        ({"chunks": 50}, "size of tiles"),
    ],
)
def test_a_store_of_another_kernel_is_refused(
    kept: str, others: dict[str, Any], difference: str
) -> None:
    with pytest.raises(ValueError, match=f"another kernel, which differs in: .*{difference}"):
        distributed.store(kept, **{"net": NET, "X": X, "chunks": 40, **others})
    assert np.array_equal(read(kept), K)


def test_tiles_of_another_size_tell_nothing_of_the_samples(kept: str) -> None:
    with pytest.raises(ValueError, match=r"which differs in: size of tiles \(40, not 50\); it"):
        distributed.store(kept, NET, X, chunks=50)


def test_one_tile_is_called_one(path: str) -> None:
    with dask.config.set(scheduler="synchronous"):
        stored = distributed.store(path, NET, X[:30], chunks=40)
    assert str(stored) == f"{path}: 1 tile computed, 0 found there"
    assert str(stored.plan).startswith("1 tile of 30 × 30, ")


def test_a_store_of_another_version_is_refused(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "version", lambda _: "0.0.1")
    with pytest.raises(ValueError, match=r"version of fastntk \(.*, not 0\.0\.1\)"):
        distributed.store(kept, NET, X, chunks=40)


@pytest.mark.parametrize("content", [None, "", "{}", '{"attributes": {"fastntk": {}}}', "\xff"])
def test_what_is_no_store_is_refused(path: str, content: str | None) -> None:
    Path(path).mkdir()
    if content is not None:
        (Path(path) / "zarr.json").write_text(content, encoding="latin-1")
    for call in (lambda: distributed.store(path, NET, X), lambda: distributed.load(path)):
        with pytest.raises(ValueError, match=r"expected a store that fastntk\.distributed"):
            call()
    assert [each.name for each in Path(path).iterdir()] == ["zarr.json"] * (content is not None)


@pytest.mark.parametrize(
    "changed", [{"shape": [149, 150]}, {"data_type": "float32"}, {"fill_value": 0.0}]
)
def test_a_store_whose_array_is_another_is_refused(kept: str, changed: dict[str, Any]) -> None:
    file = Path(kept) / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    for call in (
        lambda: distributed.store(kept, NET, X, chunks=40),
        lambda: distributed.load(kept),
    ):
        with pytest.raises(ValueError, match=r"expected a store that fastntk\.distributed"):
            call()


def test_what_the_store_says_of_itself(kept: str) -> None:
    there = json.loads((Path(kept) / "zarr.json").read_text())["attributes"]["fastntk"]
    assert there["complete"] is True
    assert set(there["versions"]) == {"numpy", "zarr", "dask"}
    assert there["identity"]["kernel"] == "ntk"
    assert there["identity"]["network"] == NET.digest()
    assert there["identity"]["dtype"] == "float64"


def test_other_shapes(path: str) -> None:
    with dask.config.set(scheduler="synchronous"):
        stored = distributed.store(path, NET, X, chunks=64, outputs="full")
        assert np.array_equal(stored.array().compute(), NET.ntk(X, outputs="full"))
        shutil.rmtree(path)
        net = infinite.Network([1, 2])
        stored = distributed.store(path, net, X, X[:70], chunks=64)
        assert np.array_equal(stored.array().compute(), net.ntk(X, X[:70]))


def folder_for_a_tile(path: Path) -> None:
    tile(str(path), 1, 2).unlink()
    tile(str(path), 1, 2).mkdir()


def file_for_a_folder(path: Path) -> None:
    shutil.rmtree(path / "c" / "2")
    (path / "c" / "2").write_text("")


@pytest.mark.parametrize(
    ("damage", "place", "kind"),
    [
        (folder_for_a_tile, "c/1/2", "the file of a tile"),
        (file_for_a_folder, "c/2", "a folder of tiles"),
    ],
)
def test_what_is_no_tile_is_named_before_the_work(
    kept: str, damage: Any, place: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(Path(kept))
    monkeypatch.setattr(stores, "_filled", None)
    message = rf"path='.*K\.zarr': '{place}' is something else than {kind}: expected nothing there"
    for call in (lambda: distributed.store(kept, NET, X, chunks=40), lambda: read(kept)):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_tile_that_is_not_there_is_not_read_as_one(kept: str) -> None:
    tile(kept, 3, 1).unlink()
    with pytest.raises(ValueError, match=r"K\.zarr' is not complete: expected a store with all"):
        distributed.load(kept)


def test_errors_of_the_system_name_the_argument(tmp_path: Path) -> None:
    long = str(tmp_path / ("a" * 300 + ".zarr"))
    for call in (lambda path: distributed.store(path, NET, X), distributed.load):
        with pytest.raises(OSError, match=r"^\[Errno \d+\] path: .*: '.*aaa\.zarr"):
            call(long)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system where none can write")
def test_a_place_where_nobody_can_write() -> None:
    with pytest.raises(OSError, match=r"^\[Errno \d+\] path: .*: '/proc/S\.zarr"):
        distributed.store("/proc/S.zarr", NET, X)


def test_an_error_of_a_tile_names_the_argument(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "tile.partial")

    monkeypatch.setattr(stores, "compute_tile", full)
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(OSError, match=r"path: No space left on device: 'tile\.partial'") as caught,
    ):
        distributed.store(path, NET, X, chunks=40)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_memory_is_stated_before_the_start(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    little = Workers(1, 1, 2**19)
    monkeypatch.setattr(stores, "workers_with_room", lambda _: little)
    with pytest.raises(MemoryError, match=r"chunks=100: .* expected chunks of about"):
        distributed.store(path, NET, X, chunks=100)
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("somewhere", "cluster='somewhere': expected 'tcp://HOST:PORT'"),
        ("local:0", "cluster='local:0': expected 'tcp://HOST:PORT'"),
        ("tcp://127.0.0.1:9", "cluster='tcp://127.0.0.1:9': no scheduler answers there"),
    ],
)
def test_clusters_that_are_none(
    cluster: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_SECONDS", 0.5)
    with (
        pytest.raises((ValueError, ConnectionError), match=message),
        clusters.connected(cluster),
    ):
        pass


def test_the_command(path: str) -> None:
    asked = ["kernel", "digits", "--subset", "60", "--width", "16", "--out", path, "--chunks", "32"]
    for tiles in ("3 tiles computed, 0 found there", "0 tiles computed, 3 found there"):
        result = CliRunner().invoke(cli, asked)
        assert result.exit_code == 0, result.output
        assert "3 tiles of 32 × 32, about" in result.output
        assert tiles in result.output
        assert "κ = " in result.output
    images = fastntk.datasets.load("digits").X
    rows = np.sort(np.random.default_rng(0).permutation(len(images))[:60])
    net = fastntk.MLP([64, 16, 16, 16, 1], dtype="float32")
    assert np.array_equal(read(path), net.ntk(images[rows], dtype="float64"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chunks", "5"], "chunks=5: expected --out NAME.zarr with it"),
        (["--cluster", "local:2"], "cluster='local:2': expected --out NAME.zarr with it"),
        (["--out", "K.zarr", "--keep-kernel"], "--keep-kernel=True: expected no such option"),
        (["--out", "K.ZARR"], "--out='K.ZARR': expected NAME.zarr in small letters for the kernel"),
        (["--out", ".Zarr"], "--out='.Zarr': expected NAME.zarr in small letters"),
        (["--out", ".zarr"], "--out='.zarr': expected NAME.zarr in small letters"),
        (["--out", "K.zarr", "--cluster", "here"], "cluster='here': expected 'tcp://"),
    ],
)
def test_options_of_the_command(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["kernel", "digits", *options])
    assert result.exit_code == 1
    assert message in result.output
    assert not any(tmp_path.iterdir())
