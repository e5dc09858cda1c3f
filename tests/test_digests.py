# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Digests are those of files and stores that were written before: their values are fixed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import fastntk
from fastntk._support.archives import checksum
from fastntk._support.digests import sha256
from fastntk.activations.identities import activation_identity
from fastntk.studies.identities import array_digest
from fastntk.studies.store import key_of

A = np.arange(6.0).reshape(2, 3)


def test_parts_follow_each_other() -> None:
    expected = hashlib.sha256("κ 3".encode() + A.tobytes() + b"end").hexdigest()
    assert sha256("κ 3", A, "end") == expected
    assert sha256("κ ", "3", A, "end") == expected
    assert sha256() == hashlib.sha256(b"").hexdigest()


def test_arrays_count_in_the_order_of_their_rows() -> None:
    assert sha256(np.asfortranarray(A)) == sha256(A) != sha256(A.T)
    wide = np.zeros((2, 6))
    wide[:, ::2] = A
    assert sha256(wide[:, ::2]) == sha256(A)


def test_arrays_of_archives_have_names_and_shapes() -> None:
    text = b'{"format": "x", "version": 1}' + b"W1 <f8 (2, 3)" + A.tobytes() + b"b1 <f4 (1,)"
    expected = hashlib.sha256(text + np.float32(2).tobytes()).hexdigest()
    arrays = {"b1": np.full(1, 2, np.float32), "W1": A}
    assert checksum({"version": 1, "format": "x"}, arrays) == expected


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<i8"])
def test_samples_are_the_same_in_both_byte_orders(dtype: str) -> None:
    array = A.astype(dtype)
    name = np.dtype(dtype).name
    little = A.astype(np.dtype(dtype).newbyteorder("<"))
    expected = hashlib.sha256(f"{name} (2, 3) ".encode() + little.tobytes()).hexdigest()
    assert array_digest(array) == array_digest(np.asfortranarray(array)) == expected


def test_keys_of_cells() -> None:
    settings = {"depth": 3, "activation": ["relu"], "name": "φ", "rate": 0.1}
    text = '{"activation": ["relu"], "depth": 3, "name": "φ", "rate": 0.1}'
    assert key_of(settings) == hashlib.sha256(text.encode()).hexdigest()


def test_activations_are_known_by_name_or_by_their_values() -> None:
    assert activation_identity(fastntk.activations.leaky_relu(0.2)) == ["leaky_relu", 0.2]
    cube = fastntk.activations.custom(lambda x: x**3, lambda x: 3 * x**2, "cube")
    points = np.linspace(-8.0, 8.0, 4097)
    content = (points**3).tobytes() + (3 * points**2).tobytes()
    assert activation_identity(cube) == [
        "custom",
        hashlib.sha256(content).hexdigest(),
        cube.second_moment,
    ]
