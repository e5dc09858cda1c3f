# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that earlier versions and this one wrote are read, and say what they said.

They lie in ``tests/data``, a folder for each version, and are never written anew: see
`files_of_versions.py`.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import files_of_versions
import numpy as np
import pytest

import fastntk
from fastntk.studies.store import StudyStore, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

VERSIONS = sorted(path.name for path in files_of_versions.DATA.iterdir())
CLASSES = [
    *("AngleCurves", "ConstancyStudy", "ConvergenceStudy", "DepthStudy", "History"),
    *("LearningRateSearch", "LinearizationStudy", "MonteCarlo"),
]


def expected_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(params=VERSIONS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, so that nothing changes the files themselves."""
    copied = tmp_path / "files"
    shutil.copytree(files_of_versions.DATA / request.param, copied)
    return copied


def test_there_are_files_of_every_kind(folder: Path) -> None:
    files = {path.name for path in folder.iterdir()} - {"expected.json"}
    expected = expected_of(folder)
    assert files == set(expected)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2**18
    classes = [each["class"] for each in expected.values() if "class" in each]
    assert sorted(classes) == CLASSES


@pytest.mark.parametrize("name", files_of_versions.NETWORKS)
def test_networks(name: str, folder: Path) -> None:
    expected = expected_of(folder)[name]
    found = files_of_versions.said(files_of_versions.load_network(folder / name))
    rtol = 1e-12 if found["dtype"] == "float64" else 1e-5
    for key in ("outputs", "ntk"):
        np.testing.assert_allclose(found.pop(key), expected.pop(key), rtol=rtol, atol=rtol)
    assert found == expected


def test_packed_kernels(folder: Path) -> None:
    expected = expected_of(folder)["kernel.npy"]
    for mmap in (False, True):
        kernel = fastntk.PackedKernel.load(folder / "kernel.npy", mmap=mmap)
        np.testing.assert_array_equal(kernel.to_dense(), expected)


def test_stores_of_studies(folder: Path) -> None:
    key = key_of(files_of_versions.CELL)
    with StudyStore(folder / "cells.sqlite") as store:
        assert store.find([key]) == {key: expected_of(folder)["cells.sqlite"]}


def test_checkpoints_are_gone_on_from(folder: Path) -> None:
    history = files_of_versions.trained(folder / "checkpoint.npz", 3)
    assert history.epochs == 3
    assert history.loss[:2].tolist() == expected_of(folder)["checkpoint.npz"]


def as_called_now(values: Iterable[Any]) -> list[Any]:
    """Return what is in a column; 0.1 said ``Activation(leaky_relu(0.25))`` for that activation."""
    return [
        re.sub(r"^Activation\((.*)\)$", r"\1", each) if isinstance(each, str) else each
        for each in values
    ]


def test_results(folder: Path) -> None:
    for name, each in expected_of(folder).items():
        if "class" in each:
            found = getattr(fastntk, each["class"]).load(folder / name).to_frame()
            for column, values in each["table"].items():  # later versions may have more of them
                if found[column].dtype == np.float64:
                    np.testing.assert_allclose(found[column], values, rtol=1e-12)
                else:
                    assert as_called_now(found[column]) == as_called_now(values)
