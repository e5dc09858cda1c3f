# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples in files of every format: whole, damaged, cut off, too large, and no files at all."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat

from fastntk import datasets
from fastntk._support import memory
from fastntk.datasets import idx
from fastntk.datasets.mat_elements import require_readable

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4))
Y = np.array([2, 0, 1, 1, 0, 2])
IMAGES = RNG.integers(0, 256, (6, 3, 2), dtype=np.uint8)
COLOURED = RNG.integers(0, 256, (3, 2, 3, 6), dtype=np.uint8)  # as SVHN: samples last
TENS = np.array([[10], [1], [2], [9], [10], [3]], dtype=np.uint8)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def labels(found: datasets.Dataset) -> list[int]:
    assert found.y is not None
    assert found.y.dtype == np.int64
    return list(found.y.tolist())


def csv(path: str) -> None:
    rows = ["a,b,label", *(f"{x[0]!r},{x[1]!r},{y}" for x, y in zip(X.tolist(), Y, strict=True))]
    Path(path).write_text("\n".join(rows) + "\n")


# By the name of a file, what writes a good one.
WRITERS: dict[str, Callable[[str], object]] = {
    "x.npy": lambda path: np.save(path, X),
    "x.npz": lambda path: np.savez(path, X=X, y=Y),
    "deflated.npz": lambda path: np.savez_compressed(path, X=X, y=Y),
    "x.csv": csv,
    "x.mat": lambda path: savemat(path, {"X": X, "y": Y}),
    "deflated.mat": lambda path: savemat(path, {"X": COLOURED, "y": TENS}, do_compression=True),
    "old.mat": lambda path: savemat(path, {"X": X, "y": Y}, format="4"),
    "t-images-idx3-ubyte": lambda path: Path(path).write_bytes(idx.written(IMAGES)),
    "t-images.idx3-ubyte.gz": lambda path: Path(path).write_bytes(
        gzip.compress(idx.written(IMAGES))
    ),
    "x.idx": lambda path: Path(path).write_bytes(idx.written(IMAGES)),
}


# Whole files.


def test_arrays_of_numpy() -> None:
    np.savez("x.npz", X=X, y=Y)
    found = datasets.load("x.npz")
    assert found.X.tobytes() == X.tobytes()
    assert labels(found) == Y.tolist()
    assert datasets.load("x.npz", label=False).y is None
    assert datasets.load(Path("x.npz"), n=2).X.tobytes() == X[:2].tobytes()
    # Targets that are no labels were never read; if they are asked for, they have to be labels.
    np.savez("x.npz", X=X, y=X[:, 0], digit=Y)
    assert datasets.load("x.npz").y is None
    assert labels(datasets.load("x.npz", label="digit")) == Y.tolist()
    with pytest.raises(ValueError, match=r"label='y': expected integers from 0, one for each of 6"):
        datasets.load("x.npz", label="y")
    with pytest.raises(ValueError, match=r"label='z': expected one of the arrays \['X', 'digit'"):
        datasets.load("x.npz", label="z")
    with pytest.raises(ValueError, match=r"label=0: expected one of the arrays \['X', 'digit'"):
        datasets.load("x.npz", label=0)
    np.savez("x.npz", samples=X.astype(np.float32), y=Y, more=Y)
    with pytest.raises(
        ValueError, match=r"expected an array named X, found \['more', 'samples', 'y'\]"
    ):
        datasets.load("x.npz")
    np.savez("x.npz", samples=X.astype(np.float32), y=Y)
    assert labels(datasets.load("x.npz")) == Y.tolist()
    assert labels(datasets.load("x.npz", label="y")) == Y.tolist()
    assert datasets.load("x.npz", label="y").X.dtype == np.float32
    np.savez("x.npz", X=X, y=np.array([0, 1, 2, 3, 4, 2**53]))
    assert labels(datasets.load("x.npz"))[5] == 2**53
    for beyond in (2**53 + 1, -1):
        np.savez("x.npz", X=X, y=np.array([0, 1, 2, 3, 4, beyond]))
        with pytest.raises(
            ValueError, match=r"its array y of shape \(6,\) and int64 is taken for l"
        ):
            datasets.load("x.npz")
        assert datasets.load("x.npz", label=False).y is None
    np.savez("x.npz", X=X, y=Y[:, np.newaxis])
    with pytest.raises(ValueError, match=r"y of shape \(6, 1\) .* label=False"):
        datasets.load("x.npz")
    np.savez("x.npz", X=X, y=-1.0 * Y - 0.5)
    assert datasets.load("x.npz").y is None
    np.savez("x.npz", y=X)
    assert datasets.load("x.npz").X.tobytes() == X.tobytes()
    np.save("x.npy", np.asfortranarray(X.astype(">f8")))
    assert datasets.load("x.npy").X.tobytes() == X.tobytes()


@pytest.mark.parametrize("form", ["4", "5"])
def test_matrices_of_matlab(form: Any) -> None:
    savemat("x.mat", {"X": X, "y": Y, "other": 3.0}, format=form)
    found = datasets.load("x.mat")
    assert found.X.tobytes() == X.tobytes()
    assert labels(found) == Y.tolist()
    assert datasets.load("x.mat", label=False).y is None
    savemat("x.mat", {"data": X, "class": Y}, format=form)
    assert labels(datasets.load("x.mat", label="class")) == Y.tolist()
    with pytest.raises(ValueError, match=r"expected an array named X, found \['class', 'data'\]"):
        datasets.load("x.mat")
    with pytest.raises(ValueError, match=r"label='z': expected one of the arrays \['class'"):
        datasets.load("x.mat", label="z")
    savemat("x.mat", {"X": X, "y": Y[:5]}, format=form)
    with pytest.raises(ValueError, match=r"label='y': expected integers from 0, one for each of 6"):
        datasets.load("x.mat")
    savemat("x.mat", {"X": X, "y": Y + 0.5}, format=form)
    with pytest.raises(
        ValueError, match=r"label='y': .* found an array of shape \(6,\) and float64; leave"
    ):
        datasets.load("x.mat")
    assert datasets.load("x.mat", label=False).y is None


@pytest.mark.parametrize("compressed", [True, False])
def test_files_in_the_layout_of_svhn(compressed: bool) -> None:
    savemat("train_32x32.mat", {"X": COLOURED, "y": TENS}, do_compression=compressed)
    found = datasets.load("train_32x32.mat")
    assert found.X.tolist() == [COLOURED[..., i].ravel().tolist() for i in range(6)]
    assert found.X.flags.c_contiguous
    assert labels(found) == [0, 1, 2, 9, 0, 3]
    assert found.sample_shape == (3, 2, 3)
    # Labels that are not 1 to 10 are what they are.
    savemat("hundred.mat", {"X": COLOURED, "y": 10 * TENS})
    assert labels(datasets.load("hundred.mat")) == [100, 10, 20, 90, 100, 30]
    scaled = datasets.load("train_32x32.mat", preprocessing="symmetric").X
    assert scaled.tobytes() == (found.X / 127.5 - 1).tobytes()


def test_files_of_matlab_that_are_hdf5() -> None:
    head = b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<HH", 0x0200, 0x4D49)
    Path("x.mat").write_bytes(head + bytes(600))
    with pytest.raises(ValueError, match=r"x\.mat'.*MATLAB's format 7\.3.*save it with -v7"):
        datasets.load("x.mat")


def test_matrices_of_matlab_that_are_no_samples() -> None:
    from scipy import sparse

    real, y = np.eye(3), np.arange(3)
    for X, message in (
        (sparse.eye(3), "X is of MATLAB's kind sparse: expected numbers$"),
        ({"a": 1}, "X is of MATLAB's kind struct"),
        ("text", "X is of MATLAB's kind char"),
        (real + 1j, "X has complex numbers: expected real ones"),
    ):
        savemat("x.mat", {"X": X, "y": y})
        with pytest.raises(ValueError, match=message):
            datasets.load("x.mat")
    savemat("x.mat", {"X": real, "y": np.array(["a", "b", "c"], dtype=object)})
    with pytest.raises(ValueError, match=r"y is of MATLAB's kind cell.*leave it out with label"):
        datasets.load("x.mat")
    # A name of more than one letter, but short enough to stand within its tag.
    savemat("x.mat", {"abc": real + 1j})
    with (
        Path("x.mat").open("rb") as file,
        pytest.raises(ValueError, match="abc has complex numbers"),
    ):
        require_readable(file, ["abc"])
    # What is not asked for may be anything.
    savemat("x.mat", {"X": real, "y": y, "c": real + 1j, "s": sparse.eye(2), "a": "a"})
    assert datasets.load("x.mat").X.tolist() == real.tolist()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_type_that_matlab_does_not_have_is_not_looked_up(compressed: bool) -> None:
    """With `scipy.io.loadmat`, each of these may end the process."""
    savemat("good.mat", {"X": np.full((6, 3), 0.5)})
    good = Path("good.mat").read_bytes()
    assert good[176] == 9  # the type of the numbers, which are doubles
    for at, value in ((176, 8), (176, 137), (177, 128), (177, 1), (145, 255), (180, 255)):
        content = bytearray(good)
        content[at] = value
        if compressed:
            packed = zlib.compress(bytes(content[128:]))
            content[128:] = struct.pack("<2I", 15, len(packed)) + packed
        Path("x.mat").write_bytes(content)
        with pytest.raises(ValueError, match=r"it is damaged: a matrix of|X has complex numbers"):
            datasets.load("x.mat")


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files(ending: str) -> None:
    def write(name: str, content: bytes) -> None:
        Path(name + ending).write_bytes(gzip.compress(content) if ending else content)

    write("train-images-idx3-ubyte", idx.written(IMAGES))
    found = datasets.load(f"train-images-idx3-ubyte{ending}")
    assert found.name == "train-images-idx3-ubyte"
    assert found.X.tolist() == IMAGES.reshape(6, 6).tolist()
    assert found.X.flags.writeable
    assert found.sample_shape == (3, 2)
    assert found.y is None
    write("train-labels-idx1-ubyte", idx.written(Y.astype(np.uint8)))
    assert labels(datasets.load(f"train-images-idx3-ubyte{ending}")) == Y.tolist()
    write("train-labels-idx1-ubyte", idx.written(Y[:5].astype(np.uint8)))
    with pytest.raises(ValueError, match=r"the file of its labels has 5, but there are 6 samples"):
        datasets.load(f"train-images-idx3-ubyte{ending}")
    write("train-labels-idx1-ubyte", idx.written(IMAGES))
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte.*expected one label for each"):
        datasets.load(f"train-images-idx3-ubyte{ending}")
    write("x.idx", struct.pack(">HBB2I4h", 0, 0x0B, 2, 2, 2, 1, -2, 300, 4))
    assert datasets.load(f"x.idx{ending}").X.tolist() == [[1.0, -2.0], [300.0, 4.0]]
    with pytest.raises(ValueError, match=r"symmetric': the range of the numbers of 'x.idx' is not"):
        datasets.load(f"x.idx{ending}", preprocessing="symmetric")


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_labels_may_be_compressed_where_images_are_not(ending: str) -> None:
    content, digits = idx.written(IMAGES), idx.written(Y.astype(np.uint8))
    other = "" if ending else ".gz"
    for name, each, end in (("images-idx3", content, ending), ("labels-idx1", digits, other)):
        Path(f"t-{name}-ubyte{end}").write_bytes(gzip.compress(each) if end else each)
    assert labels(datasets.load(f"t-images-idx3-ubyte{ending}")) == Y.tolist()


# Tables.


@pytest.mark.parametrize(
    ("content", "arguments", "features", "expected"),
    [
        ("a,b,Target\n1,2,0\n3,4,1\n", {}, ("a", "b"), [0, 1]),
        ("a,b,digit\n1,2,0\n3,4,1\n", {"label": "digit"}, ("a", "b"), [0, 1]),
        ("a,b,digit\n1,2,0\n3,4,1\n", {"label": -1}, ("a", "b"), [0, 1]),
        ("1,2,0\n3,4,1\n", {"label": 2}, (), [0, 1]),
        ("0,1,2\n1,3,4\n", {"label": 0}, (), [0, 1]),
        ("label,a,b\n0,1,2\n1,3,4\n", {}, ("a", "b"), [0, 1]),
        ("a,b,label\n1,2,0\n3,4,1\n", {"label": False}, ("a", "b", "label"), None),
        (",a,b\n0,1,2\n1,3,4\n", {"index": 0}, ("a", "b"), None),
        ("id,a,b\n7,1,2\n9,3,4\n", {"index": "id"}, ("a", "b"), None),
        ("id,a,b\n7,1,2\n9,3,4\n", {"index": False}, ("id", "a", "b"), None),
        ("n,a,b\n7,1,2\n9,3,4\n", {"index": "n", "label": "b"}, ("a",), [2, 4]),
        ("0,1,2\n1,3,4\n", {"index": 0, "label": -1}, (), [2, 4]),
        # As NumPy's savetxt writes headers, as people do, and pandas where columns have no names.
        ("# label,a,b\n1,.5,3\n0,3,4\n", {}, ("a", "b"), [1, 0]),
        ('a, "label", b\n1, 0, 2\n3, 1, 4\n', {}, ("a", "b"), [0, 1]),
        ("0,1,label\n1,2,1\n3,4,0\n", {}, ("0", "1"), [1, 0]),
        (",0,1\n0,1,2\n1,3,4\n", {"index": 0}, ("0", "1"), None),
        ("0,1,2\n1,.5,4\n", {}, (), None),
    ],
)
def test_columns_that_are_no_features(
    content: str, arguments: dict[str, Any], features: tuple[str, ...], expected: list[int] | None
) -> None:
    Path("table.csv").write_text(content)
    found = datasets.load("table.csv", **arguments)
    assert found.feature_names == features
    assert (None if found.y is None else found.y.tolist()) == expected
    rows = [line.split(",") for line in content.splitlines()][-2:]
    left = [k for k in range(3) if k not in {arguments.get("index"), arguments.get("label")}]
    names = [name.strip('# "') for name in content.splitlines()[0].split(",")]
    if features:
        left = [names.index(name) for name in features]
    elif expected is not None:
        left = [k for k in left if k != 2 or arguments["label"] not in {2, -1}]
    assert found.X.tolist() == [[float(row[k]) for k in left] for row in rows]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("Unnamed: 0,a\n3,1\n4,2\n", {}, r"first column is named 'Unnamed: 0', as the index"),
        ("Index,a\n3,1\n4,2\n", {}, r"first column is named 'Index', as the index"),
        ("id,a\n3,1\n4,2\n", {}, r"first column is named 'id', as the index .* index=0.*index=Fa"),
        ("0,.5\n1,.5\n2,.5\n3,.5\n4,.5\n", {}, r"first column counts the rows, as the index"),
        ("n,a\n1,3\n2,3\n3,3\n4,3\n5,3\n", {}, r"first column counts the rows, as the index"),
        ("a,b\n1,2\n", {"label": "c"}, r"label='c': expected one of the columns \['a', 'b'\]"),
        ("a,a\n1,2\n", {"label": "a"}, r"label='a': expected one of the columns \['a', 'a'\]"),
        ("a,b\n1,2\n", {"index": 2}, r"index=2: expected a column from 0 to 1"),
        ("a,b\n1,2\n", {"label": -3}, r"label=-3: expected a column from 0 to 1"),
        ("1,2\n3,4\n", {"label": "a"}, r"label='a': the table has no line of names"),
        ("a,b\n1,2\n", {"label": "a", "index": 0}, r"index=0: is the column of the labels, too"),
        ("a,label,y\n1,0,1\n", {"label": "y"}, ""),
        ("a,label\n1,1e300\n", {}, r"column 'label' is taken for labels: expected integers"),
        ("a,label\n1,inf\n", {}, r"column 'label' is taken for labels: expected integers"),
        ("a,label\n1,-1\n", {}, r"column 'label' is taken for labels: expected integers from 0"),
        ("a,label\n1,0\n2,x\n", {}, r"column 'label' has 'x' in row 2 of the samples"),
        ("a,label\n1,u\n2,NA\n", {}, r"column 'label' has 'u' in row 1 of the samples"),
        ("a,class,label\n1,0,1\n", {}, r"several columns of labels: .* with label='class'"),
        ("a;b\n1;2\n", {}, r"has '1;2' in row 1"),
        ("a,kind\n1,u\n2,v\n", {}, r"'u' in row 1 .*: expected a number; if .* label='kind'$"),
        ("1,u\n2,v\n", {}, r"'u' in row 1 .*: expected a number; if these are labels, .* label=1$"),
        ("a,kind\n1,u\n2,4\n", {}, r"'u' in row 1 of the samples: expected a number$"),
        ("a,b,c\n1,u,x\n", {"label": "c"}, r"'u' in row 1 of the samples: expected a number$"),
        ("a,Index\n3,1\n4,2\n", {}, r"column 2 is named 'Index', as the index.* index=1"),
        ("a,Unnamed: 1\n3,1\n4,2\n", {}, r"column 2 is named 'Unnamed: 1', as the index"),
        (".5,0\n.5,1\n.5,2\n.5,3\n.5,4\n", {}, r"column 2 counts the rows, as the index"),
        ("label,a,b\n" + "".join(f"0,3,{k}\n" for k in range(5)), {}, r"column 3 counts the rows"),
        ("0,1\n.5,2.5\n", {}, r"first line counts the columns, as the header that pandas writes"),
        ("0,1,2,3,4\n5,6,7,8,9\n", {}, r"first line counts the columns, as the header"),
        ("?,*\n1,2\n", {}, r"column 1 has '\?' in row 1 of the samples: expected a number"),
        ("1,2\n3,4,5\n", {}, r"Expected 2 fields in line 2, saw 3$"),
        ("a,b\n1_000,2\n3,4\n", {}, r"column 'a' has '1_000' in row 1 .*: expected a number"),
        ("1_000,2\n3,4\n", {}, r"column 1 has '1_000' in row 1 .*: expected a number"),
        ("a,label\n1,1\n2,1_0\n", {}, r"column 'label' has '1_0' in row 2 of the samples"),
        ("a,b\n1,2\n1,-9007199254740993\n", {}, r"'b' has '-9007199254740993' in row 2"),
    ],
)
def test_columns_that_are_not_clear(content: str, arguments: dict[str, Any], message: str) -> None:
    Path("table.csv").write_text(content)
    if not message:  # the other column that might be one is a feature, as was said
        assert datasets.load("table.csv", **arguments).feature_names == ("a", "label")
        return
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("table.csv", **arguments)
    assert "table.csv" in str(error.value)


@pytest.mark.parametrize("value", [True, 1.5, [1], "", b"label", np.True_])
@pytest.mark.parametrize("argument", ["label", "index"])
def test_what_names_no_column(argument: str, value: object) -> None:
    csv("table.csv")
    with pytest.raises((TypeError, ValueError), match=f"{argument}="):
        datasets.load("table.csv", **{argument: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ["0,1", "0", "0,1,2,3", "1,2,3,4,5"])
def test_a_sample_may_count_its_columns(row: str) -> None:
    for below in ("", row + "\n"):
        Path("table.csv").write_text(f"{row}\n{below}")
        assert datasets.load("table.csv").X[0].tolist() == [float(cell) for cell in row.split(",")]


def test_a_table_that_does_not_fit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("table.csv").write_text("1,2\n" * 2**18)
    monkeypatch.setattr(memory, "available_memory", lambda: 2**23)
    with pytest.raises(MemoryError, match=r"name='table\.csv': the texts of a table of 1048576 b"):
        datasets.load("table.csv")


def test_labels_may_be_names() -> None:
    Path("table.csv").write_text("a,class\n1,setosa\n2,virginica\n3, setosa\n4,iris\n")
    found = datasets.load("table.csv")
    assert labels(found) == [1, 2, 1, 0]
    assert found.label_names == ("iris", "setosa", "virginica")
    assert found.X.tolist() == [[1.0], [2.0], [3.0], [4.0]]


def test_labels_that_count_the_rows_are_labels() -> None:
    Path("table.csv").write_text("class,a\n" + "".join(f"{k},{k / 2}\n" for k in range(6)))
    assert labels(datasets.load("table.csv")) == list(range(6))
    assert datasets.load("table.csv").X.ravel().tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_rows_that_do_not_count_are_samples() -> None:
    np.savetxt("table.csv", np.c_[[0, 1, 2, 3, 5], X[:5, 0]], delimiter=",")
    assert datasets.load("table.csv").X.shape == (5, 2)
    Path("table.csv").write_text("0,1\n1,1\n2,1\n3,1\n")  # too few to be sure
    assert datasets.load("table.csv").X.shape == (4, 2)


# Files that are not what they should be.


KINDS = {".npy": "file", ".npz": "file", ".csv": "table", ".mat": "MATLAB file"}


@pytest.mark.parametrize("name", WRITERS)
def test_where_samples_come_from(name: str) -> None:
    WRITERS[name](name)
    found = datasets.load(f"./{name}")
    kind = KINDS.get(Path(name).suffix, "IDX file")
    done = {"raw": "as they are", "symmetric": "pixels from 0 to 255 scaled to [-1, 1]"}
    assert found.description == f"the {kind} {name}; {done[found.preprocessing]}"
    assert found.name == (name.removesuffix(".gz") if kind == "IDX file" else Path(name).stem)


@pytest.mark.parametrize("name", WRITERS)
def test_good_files_of_this_test_are_good(name: str) -> None:
    WRITERS[name](name)
    assert len(datasets.load(name).X) == 6


def complaint(name: str, content: bytes) -> str:
    """Return the error of a file, or nothing if it is read."""
    Path(name).write_bytes(content)
    try:
        datasets.load(name)
    except (ValueError, MemoryError, TypeError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_named(name: str) -> None:
    """Changed in any byte: read all the same, or refused by name. Cut off: never read."""
    WRITERS[name](name)
    whole = Path(name).read_bytes()
    refused = 0
    for at in sorted({*range(0, len(whole), max(1, len(whole) // 12)), *range(8)}):
        for flip in (0x01, 0xFF):
            told = complaint(name, whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            assert not told or f"name='{name}'" in told, (at, told)
            refused += bool(told)
        told = complaint(name, whole[:at])
        assert f"name='{name}'" in told or (name == "x.csv" and not told), (at, told)
    assert refused >= 3  # much of a header of MATLAB is any text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected an IDX file: it begins with b''"),
        (b"\0\0\x08", r"expected an IDX file: it begins with"),
        (b"\0\1\x08\3" + bytes(12), r"expected an IDX file: it begins with b'\\x00\\x01"),
        (b"\0\0\x0a\3" + bytes(12), r"expected an IDX file: it begins with"),
        (b"\0\0\x08\0" + bytes(12), r"expected an IDX file: it begins with"),
        (b"\0\0\x08\3" + bytes(11), r"ends within its header, which is to have 3 dimensions"),
        (idx.written(IMAGES) + b"\0", r"expected 36 bytes .* \(6, 3, 2\), found more"),
        (idx.written(IMAGES)[:-1], r"expected 36 bytes .* \(6, 3, 2\), found 35"),
        (idx.written(IMAGES[:0]), r"X has shape \(0, 3, 2\)"),
    ],
)
def test_idx_files_that_are_none(content: bytes, message: str) -> None:
    for name, written in (("x.idx", content), ("x.idx.gz", gzip.compress(content))):
        Path(name).write_bytes(written)
        with pytest.raises(ValueError, match=message):
            datasets.load(name)


def test_headers_that_promise_too_much_are_refused_before_anything_is_inflated() -> None:
    shape = struct.pack(">HBB3I", 0, 0x08, 3, 2**31, 2**10, 2**10)
    Path("x.idx").write_bytes(shape + bytes(100))
    Path("x.idx.gz").write_bytes(gzip.compress(shape + bytes(10**6)))
    for name in ("x.idx", "x.idx.gz"):
        with pytest.raises(ValueError, match=r"shape \(2147483648, 1024, 1024\) .* more than such"):
            datasets.load(name)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)}
    )
    Path("x.npy").write_bytes(huge.getvalue())
    with zipfile.ZipFile("x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", huge.getvalue() + bytes(10**6))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(ValueError, match=r"it has \d+ bytes, but its header \(shape \(10000"):
            datasets.load(name)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.mat", "x.idx", "x.idx.gz"])
def test_arrays_that_do_not_fit_are_refused_before_they_are_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = np.zeros((2000, 1000), dtype=np.uint8)
    if name == "x.npy":
        np.save(name, zeros)
    elif name == "x.npz":
        np.savez_compressed(name, X=zeros)
    elif name == "x.mat":
        savemat(name, {"X": zeros}, do_compression=True)
    else:
        content = idx.written(zeros)
        Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    with pytest.raises(MemoryError, match=rf"name='{name}': .*shape \(2000, 1000\) needs 1\.9 MiB"):
        datasets.load(name)


def test_a_long_header_is_not_inflated() -> None:
    with zipfile.ZipFile("x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**26)
        archive.writestr("X.npy", header + bytes(2**26))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"'x\.npz'.*67108864 bytes: expected at most 10000"):
            datasets.load("x.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_archives_that_are_damaged_however_they_are_compressed() -> None:
    content = io.BytesIO()
    np.save(content, np.random.default_rng(0).standard_normal((20, 3)))
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile("x.npz", "w", method) as archive:
            archive.writestr("X.npy", content.getvalue())
        assert datasets.load("x.npz").X.shape == (20, 3)
        damaged = bytearray(Path("x.npz").read_bytes())
        damaged[100] ^= 255
        Path("x.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"name='x\.npz': cannot be read as samples"):
            datasets.load("x.npz")


def test_labels_of_other_samples_are_not_left_out_in_silence() -> None:
    np.savez("x.npz", X=np.eye(3), y=np.arange(4))
    with pytest.raises(ValueError, match=r"its array y has 4 elements, but there are 3 samples"):
        datasets.load("x.npz")
    assert datasets.load("x.npz", label=False).y is None


def test_a_single_number_is_no_matrix() -> None:
    np.save("x.npy", 1.0)
    np.savez("x.npz", X=1.0, y=[1])
    for name in ("x.npy", "x.npz"):
        for n in (None, 1):
            with pytest.raises(ValueError, match=rf"name='{name}'.*a single number: expected a ma"):
                datasets.load(name, n=n)


@pytest.mark.parametrize("content", [b"xx", b"", b"\0\0\x08\x01\0\0\0\x05ab"])
def test_damaged_labels_are_named(content: bytes) -> None:
    Path("a-images-idx3-ubyte").write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2, 1, 1) + b"ab")
    for ending in ("", ".gz"):
        labels = Path(f"a-labels-idx1-ubyte{ending}")
        labels.write_bytes(content)
        with pytest.raises(ValueError, match=rf"file of its labels, a-labels-idx1-ubyte{ending}: "):
            datasets.load("a-images-idx3-ubyte")
        labels.unlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("name", [*WRITERS, "x.wav"])
def test_pipes_are_not_waited_for(name: str) -> None:
    Path("folder").mkdir()
    path = Path("folder") / name
    os.mkfifo(path)
    given = path.parent if name == "x.wav" else path
    if name == "x.wav":
        pytest.importorskip("soundfile", reason="soundfile, of the extra 'data', is not installed")
    with pytest.raises(ValueError, match=r"expected a regular file") as error:
        datasets.load(given)
    assert str(given) in str(error.value)


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_are_not_there_or_are_folders(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"name: .*{name}"):
        datasets.load(name)
    with pytest.raises(FileNotFoundError, match=rf"path: .*{name}"):
        datasets.load_file(name)


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_may_not_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS[name](name)

    def refuse(path: str, *_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(PermissionError, match=rf"name: Permission denied: .*{name}"):
        datasets.load(name)


def test_files_of_other_kinds() -> None:
    Path("x.txt").write_text("1 2\n")
    for name in ("x.txt", "x.tar.gz", "folder/x"):
        with pytest.raises(
            ValueError, match=r"name='.*': expected a file that ends in \.npy, \.npz"
        ):
            datasets.load(name)
    with pytest.raises(ValueError, match=r"path='x\.txt': expected a file that ends in \.npy"):
        datasets.load_file("x.txt")
    # A text without an ending or a separator is a name.
    with pytest.raises(ValueError, match=r"name='x': expected one of 'digits'"):
        datasets.load("x")
    with pytest.raises(ValueError, match=r"name='': expected one of 'digits'"):
        datasets.load("")


def test_large_integers_of_tables() -> None:
    """Those that float64 has are read, and decimals are rounded, as decimals are."""
    Path("t.csv").write_text(f"a,b\n{2**53},{2**60}\n1e300,9007199254740993.0\n")
    assert datasets.load("t.csv").X.tolist() == [[2.0**53, 2.0**60], [1e300, 2.0**53]]


def test_one_row_of_numbers_is_told_how_it_becomes_a_matrix() -> None:
    np.save("d1.npy", np.ones(12))
    with pytest.raises(
        ValueError, match=r"X has shape \(12,\): .* a row; X\.reshape\(1, -1\) is a"
    ):
        datasets.load("d1.npy")
