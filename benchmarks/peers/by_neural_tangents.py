# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What neural-tangents makes of the workloads, jitted.

It runs in the environment of the peers, and knows nothing of fastntk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import neural_tangents  # noqa: E402
from neural_tangents import stax  # noqa: E402

from benchmarks.peers.serving import serve  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.peers.serving import Prepare

    Arrays = Mapping[str, Any]
    Settings = Mapping[str, Any]

# By the names that fastntk has for the same functions.
ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "relu": stax.Relu,
    "leaky_relu": lambda: stax.LeakyRelu(0.01),
    "abs": stax.Abs,
    "relu2": lambda: stax.RectifiedMonomial(2),
    "erf": stax.Erf,
    "gelu": stax.Gelu,
    "sin": stax.Sin,
    "cos": stax.Cos,
    "gaussian": stax.Gaussian,
    "rbf": stax.Rbf,
    "gabor": stax.Gabor,
}


def _outputs_of(weights: Sequence[Any], X: Any) -> Any:
    """Return the outputs (n, 1) of ReLU, whose c_φ is √2; Python's numbers keep the precision.

    Weights are (n_in, n_out): of `w.T` neural-tangents does not see the structure.
    """
    h = X
    for w in weights[:-1]:
        h = jax.nn.relu(h @ w * float((2 / w.shape[0]) ** 0.5))
    return h @ weights[-1] / float(weights[-1].shape[0] ** 0.5)


def _given(arrays: Arrays) -> tuple[Any, list[Any]]:
    count = sum(name.startswith("W") for name in arrays)
    weights = [jax.numpy.asarray(arrays[f"W{i}"].T) for i in range(count)]
    return jax.numpy.asarray(arrays["X"]), weights


def _ready(compute: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(compute())


def _ntk(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    """Return the kernel by structured derivatives, the fastest of the three implementations."""
    X, weights = _given(arrays)
    kernel = neural_tangents.empirical_ntk_fn(
        _outputs_of,
        trace_axes=(-1,),
        vmap_axes=0,
        implementation=settings.get("implementation", 3),
    )
    compute = jax.jit(lambda w, x: kernel(x, None, w))
    return _ready(lambda: compute(weights, X))


def _operator(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    X, weights = _given(arrays)
    V = jax.numpy.asarray(arrays["V"][:, : settings["vectors"]])

    def products(w: Any, x: Any, vectors: Any) -> Any:
        product = neural_tangents.empirical_ntk_vp_fn(_outputs_of, x, None, w)
        return jax.lax.map(lambda v: product(v[:, None])[:, 0], vectors.T).T

    compute = jax.jit(products)
    return _ready(lambda: compute(weights, X, V))


def _infinite(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    phi = ACTIVATIONS[settings["activation"]]()
    sizes = 1, settings["weight_std"], settings["bias_std"] or None
    layers = [each for _ in range(settings["depth"]) for each in (stax.Dense(*sizes), phi)]
    kernel = stax.serial(*layers, stax.Dense(*sizes))[2]
    X, compute = jax.numpy.asarray(arrays["X"]), jax.jit(lambda x: kernel(x, None, "ntk"))
    return _ready(lambda: compute(X))


PREPARE: dict[str, Prepare] = {"ntk": _ntk, "operator": _operator, "infinite": _infinite}


if __name__ == "__main__":
    serve(
        PREPARE,
        {
            "neural-tangents": neural_tangents.__version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
        },
    )
