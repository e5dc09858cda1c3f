# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is large is asked for before it is allocated: a MemoryError that says of what, and how much.

`test_memory_limits.py` looks at what happens where there is little; here it is the asking.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk import infinite, linearity
from fastntk._support import memory
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.features import Features
from fastntk.layers import Dense, ReLU
from fastntk.networks.placed import PlacedNetwork
from fastntk.symmetric import lapack

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(0).standard_normal((300, 6))
NET = fastntk.MLP([6, 50, 40, 2], activation="tanh")
P = NET.n_parameters
K = NET.ntk(X)
PACKED = fastntk.PackedKernel.from_dense(K)
SINGLE = NET.astype("float32")

# By a name: a call, the bytes that it takes at once at least, and what the error says they are of.
CALLS: dict[str, tuple[Callable[[], Any], int, str]] = {
    "outputs": (lambda: NET(X), 8 * 300 * 2, "2 outputs of 300 samples"),
    "jvp": (lambda: NET.jvp(X, np.ones((P, 70))), 2 * 8 * 70 * 300 * 2, "v: products"),
    "vjp": (lambda: NET.vjp(X, np.ones((300, 2, 90))), 3 * 8 * 90 * P, "u: products"),
    "hessian product": (
        lambda: linearity.hessian_vector_product(NET, X, np.ones((P, 90))),
        8 * 90 * P,
        "v: products of Hessians",
    ),
    "tiles": (
        lambda: list(NET.ntk_tiles(X[:200], tile=200)),
        8 * 200 * 200,
        "a tile of 200 × 200 in float64",
    ),
    "precision": (lambda: SINGLE.astype("float64"), 8 * P, "the weights of the network in float64"),
    "copy": (PACKED.copy, PACKED.nbytes, "a copy of a packed kernel of 300 × 300"),
    "rows": (lambda: PACKED.rows(range(200)), 8 * 200 * 300, "indices: 200 × 300 elements"),
    "submatrix": (lambda: PACKED.submatrix(range(200)), 8 * 200**2, "indices: 200 × 200 elem"),
    "angles": (lambda: fastntk.gradient_angles(K), 8 * 300**2, "K: the angles of a kernel of 300"),
    "eigenpairs": (lambda: lapack.eigenpairs(K), 24 * 300**2, "all eigenvectors of a matrix"),
    "rank": (lambda: lapack.pivoted_rank(K, 1e-9), 8 * 300**2, "K: the rank of a kernel of 300"),
    "eigenvectors": (
        lambda: fastntk.conditioning(K, method="dense", eigenvectors=True),
        32 * 300**2,
        "K: all of the spectrum of a kernel of 300",
    ),
    "several eigenvalues": (
        lambda: fastntk.conditioning(K, method="dense", k=3, bounds=False),
        8 * 300**2,
        "K: all of the spectrum of a kernel of 300",
    ),
    "Lanczos basis": (
        lambda: fastntk.conditioning(NET.ntk_operator(X)),
        16 * 300 * 160,
        "a basis of 160 vectors of 300 elements, and its images",
    ),
    "sketch": (
        lambda: fastntk.conditioning(NET.ntk_operator(X)),
        16 * 300 * 75,
        "75 vectors of 300 elements, and their products",
    ),
    "random networks": (
        lambda: fastntk.monte_carlo_ntk(X[:100], [4, 8], seeds=2, depth=1),
        8 * 100**2 * 9,
        "means of kernels of 100 × 100 for 2 widths",
    ),
    "elu": (
        lambda: infinite.ntk(X, X[:1], depth=1, activation="elu"),
        32 * 300 * 10,
        r"X: series of an activation with kinks for 30\d samples",
    ),
    "tanh": (
        lambda: infinite.ntk(X, X[:1], depth=1, activation="tanh"),
        16 * 300,
        r"X: a series of \d+ terms for 30\d samples",
    ),
    "layers": (
        lambda: infinite.ntk(X, X[:1], depth=30, activation="gelu", bias_std=0.1),
        8 * 300 * 7 * 31,
        r"depth=30: 30\d samples at all layers",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_is_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call, size, what = CALLS[name]
    call()
    asked: list[tuple[int, str]] = []
    require_of = memory.require_of

    def recorded(available: int | None, needed: int, of: str, *others: str) -> None:
        asked.append((needed, of))
        require_of(available, needed, of, *others)

    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "require_of", recorded)
    call()
    found = [needed for needed, of in asked if re.match(what, of)]
    assert found, asked
    assert max(found) >= size
    # Where it is not there, that is said before it is taken.
    of_this = max(found)
    monkeypatch.setattr(memory, "available_memory", lambda: of_this - 1)
    with pytest.raises(
        MemoryError, match=r" needs .*, but .* of memory are available: (take|give|go)"
    ):
        call()


def network(kind: str, widths: list[int], dtype: str) -> Any:
    """Return a network with so many inputs and hidden neurons, as an `MLP` or by its layers."""
    if kind == "mlp":
        return fastntk.MLP([*widths, 1], dtype=dtype)
    hidden: list[Any] = [each for width in widths[1:] for each in (Dense(width), ReLU())]
    return fastntk.Network([*hidden, Dense(1)], inputs=widths[0]).sample(dtype=dtype)


def packed_bytes(net: Any, samples: int, dtype: Any, *, for_products: bool = False) -> int:
    """Return the memory of packed weights that a pass asks for beside that of its features."""
    placed = PlacedNetwork(net.network, PROCESSOR)
    whole = placed.pass_bytes(samples, 1, np.dtype(dtype), for_products=for_products)
    return whole - placed.feature_bytes(samples, 1, np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kept", ["float64", "float32"])
@pytest.mark.parametrize("for_products", [False, True])
@pytest.mark.parametrize("kind", ["mlp", "layers"])
def test_only_weights_that_are_packed_count(
    kind: str, dtype: str, kept: str, for_products: bool
) -> None:
    """To pack them is work of its own, and more for larger networks: samples are cut alike."""
    nets = [network(kind, [30, width, width], dtype) for width in (100, 400)]

    def tasks(net: Any, samples: int) -> int:
        seen: list[int] = []
        many = np.zeros((samples, 30), dtype)
        placed = PlacedNetwork(net.network, PROCESSOR)
        report = lambda stage, done, total: seen.append(total)  # noqa: ARG005, E731
        Features(placed, many, range(1), np.dtype(kept), report, for_products=for_products)
        return seen[-1]

    for samples in (20, 200, 250, 330, 400, 960, 1000):
        packs = tasks(nets[0], samples) != tasks(nets[1], samples)
        for net in nets:
            asked = packed_bytes(net, samples, kept, for_products=for_products)
            assert (asked > 0) == packs, samples


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["mlp", "layers"])
def test_weights_that_are_packed_count(
    kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are packed for the passes of many samples: twice, but for the first layer."""
    net = network(kind, [30, 200, 180], dtype)
    placed = PlacedNetwork(net.network, PROCESSOR)
    one, all_of_them = range(1), net.dtype
    packed = packed_bytes(net, 1000, net.dtype)
    if packed == 0:
        pytest.skip("samples pass row by row on this processor")
    first, second = (layer.weights.nbytes for layer in net.network.layers[:2])
    assert first + 2 * second <= packed <= 1.3 * (first + 2 * second)
    assert packed_bytes(net, 20, net.dtype) == 0
    needed = placed.feature_bytes(1000, len(one), all_of_them) + packed
    assert placed.pass_bytes(1000, len(one), all_of_them) == needed
    many = np.random.default_rng(0).standard_normal((1000, 30))
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
    with pytest.raises(MemoryError, match=f"the features of 1000 samples in {dtype} needs"):
        net.jvp(many, np.ones(net.n_parameters))
    kernel = 1000 * 1000 * net.dtype.itemsize
    monkeypatch.setattr(memory, "available_memory", lambda: kernel + needed - 1)
    with pytest.raises(MemoryError, match=r"the kernel of 1000 × 1000 .* and the features needs"):
        net.ntk(many)
    monkeypatch.setattr(memory, "available_memory", lambda: kernel + needed)
    net.ntk(many)


def test_a_softmax_packs_nothing() -> None:
    net = fastntk.MLP([30, 200, 3], output_activation="softmax")
    assert packed_bytes(net, 1000, net.dtype) == 0
