# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training of networks that are described by layers: steps in NumPy, the kernel; bad input."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import layer_reference as reference
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_finite_network import DESCRIPTION, with_parameters
from threadpoolctl import threadpool_limits
from training_problems import assert_same_history, orders, problem, rows_of

import fastntk
from fastntk import activations, layers
from fastntk._support import memory
from fastntk.architectures.finite import FiniteNetwork
from fastntk.layers import Dense, LayerNorm, Residual, RMSNorm
from fastntk.networks.wired import with_arrays

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

CUBE = activations.custom(lambda z: z + z**3 / 8, lambda z: 1 + 3 * z**2 / 8, name="cube")

# Layers that are frozen as a whole or in part, at different rates, gains and shifts among them.
RATED = fastntk.Network(
    [
        LayerNorm(gain=True, trained=(2.0, 1.0)),
        Dense(6, bias_std=0.3, trained=(1.0, 0.0)),
        Residual(
            [
                LayerNorm(gain=True, shift=True, trained=(0.5, 2.0)),
                Dense(5, trained=0.25),
                layers.SiLU(),
                Dense(6, bias_std=0.2, trained=False),
            ],
            scale=0.75,
        ),
        RMSNorm(gain=True, shift=True, epsilon=0.2, trained=(0.0, 1.0)),
        layers.Tanh(),
        Dense(3, bias_std=0.5, trained=(0.0, 3.0)),
    ],
    inputs=5,
)


def softmax(array: Any) -> Any:
    """Return the softmax of each row."""
    exponentials = np.exp(array - array.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def descend(
    description: fastntk.Network,
    arrays: list[Any],
    X: Any,
    y: Any,
    loss: str,
    batches: list[npt.NDArray[np.intp]],
    *,
    rate: float,
    momentum: float = 0.0,
    omega: Any = None,
) -> tuple[list[float], list[Any], float]:
    """Return the losses, the parameters, and ‖gradient‖ of the last batch of what is trained."""
    flat = np.concatenate([array.ravel() for array in arrays])
    cuts = np.cumsum([array.size for array in arrays])[:-1]
    shares = reference.rates(description) if omega is None else omega
    velocity, losses, norm = np.zeros_like(flat), [], 0.0

    def split() -> list[Any]:
        parts = np.split(flat, cuts)
        return [part.reshape(a.shape) for part, a in zip(parts, arrays, strict=True)]

    for batch in batches:
        x, targets = X[batch], y[batch]
        f = reference.outputs(description, split(), x)
        if loss == "mse":
            losses.append(((f - targets) ** 2).sum() / (2 * len(batch)))
            residual = f - targets
        else:
            p = softmax(f)
            losses.append(-(targets * np.log(p)).sum() / len(batch))
            residual = p - targets
        J = reference.jacobian(description, split(), x)
        gradient = np.einsum("icp,ic->p", J, residual) / len(batch)
        norm = float(np.linalg.norm(gradient[shares > 0]))
        velocity = momentum * velocity + gradient
        flat = flat - rate * shares * velocity
    return losses, split(), norm


def per_epoch(losses: list[float], batches: list[npt.NDArray[np.intp]], n: int) -> Any:
    """Return the mean loss over the samples of each epoch."""
    sizes = [len(batch) for batch in batches]
    return np.reshape(np.multiply(losses, sizes), (-1, -(-n // max(sizes)))).sum(axis=1) / n


def assert_near(found: Any, expected: Any) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * (1 + np.abs(b).max()))


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("description", [DESCRIPTION, RATED], ids=["every step", "rated"])
@pytest.mark.parametrize(("batch", "momentum"), [(None, 0.0), (5, 0.0), (5, 0.9)])
def test_trajectories(
    description: fastntk.Network, loss: str, batch: int | None, momentum: float
) -> None:
    X, y = problem(loss)
    net, arrays = with_parameters(description, 1)
    before = [array.copy() for array in arrays]
    history = fastntk.train(
        net,
        X,
        y,
        loss=loss,
        learning_rate=0.1,
        epochs=2,
        batch_size=batch,
        momentum=momentum,
        seed=3,
    )
    batches = orders(12, batch or 12, 2, 3)
    losses, expected, norm = descend(
        description, arrays, X, rows_of(y), loss, batches, rate=0.1, momentum=momentum
    )
    np.testing.assert_allclose(history.loss, per_epoch(losses, batches, 12), rtol=1e-11)
    assert type(history.net) is FiniteNetwork
    assert_near(history.net.parameters, expected)
    assert history.gradient_norm[-1] == pytest.approx(norm, rel=1e-11, abs=0)
    assert history.status == "completed"
    # Neither the net that was given changed nor what is not trained.
    assert all(map(np.array_equal, net.parameters, before))
    shares = np.split(reference.rates(description), np.cumsum([a.size for a in arrays])[:-1])
    for now, then, share in zip(history.net.parameters, before, shares, strict=True):
        assert np.array_equal(now, then) == (not share.any())


@settings(max_examples=10)
@given(description=networks(activations=("tanh", "silu")), seed=st.integers(0, 99))
def test_random_networks(description: fastntk.Network, seed: int) -> None:
    assume(reference.rates(description).any())
    net, arrays = with_parameters(description, seed)
    X = np.random.default_rng(seed).standard_normal((7, description.inputs))
    y = np.random.default_rng(seed + 1).standard_normal((7, net.n_outputs))
    # So small that the loss stays of its size.
    rate = 0.1 / (1 + np.abs(net.jacobian(X)).max() ** 2 * net.n_parameters)
    options: dict[str, Any] = {"loss": "mse", "learning_rate": rate, "momentum": 0.5}
    history = fastntk.train(net, X, y, epochs=1, batch_size=4, **options)
    batches = orders(7, 4, 1, 0)
    losses, expected, _ = descend(
        description, arrays, X, y, "mse", batches, rate=rate, momentum=0.5
    )
    np.testing.assert_allclose(history.loss, per_epoch(losses, batches, 7), rtol=1e-9)
    assert_near(history.net.parameters, expected)


def test_rates_and_layers_that_are_asked_for() -> None:
    X, y = problem("mse")
    net, arrays = with_parameters(DESCRIPTION, 2)
    count = len(net.network.layers)
    numbers = np.random.default_rng(0)
    pairs, chosen = numbers.uniform(0.5, 2.0, (count, 2)), numbers.random(count) < 0.6
    history = fastntk.train(
        net,
        X,
        y,
        loss="mse",
        learning_rate=0.1,
        epochs=2,
        layer_rates=pairs,
        trainable=chosen.tolist(),
    )
    shares = [
        np.full(array.size, pairs[k, kind] * chosen[k])
        for k, layer in enumerate(net.network.layers)
        for kind, array in enumerate(layer.both)
        if array is not None
    ]
    losses, expected, _ = descend(
        DESCRIPTION,
        arrays,
        X,
        y,
        "mse",
        [np.arange(12)] * 2,
        rate=0.1,
        omega=np.concatenate(shares),
    )
    np.testing.assert_allclose(history.loss, losses, rtol=1e-11)
    assert_near(history.net.parameters, expected)
    with pytest.raises(ValueError, match=f"expected True or False for each of {count} layers"):
        fastntk.train(net, X, y, loss="mse", learning_rate=0.1, trainable=[True] * (count - 1))
    with pytest.raises(ValueError, match="at least one layer that is trained"):
        fastntk.train(net, X, y, loss="mse", learning_rate=0.1, trainable=[False] * count)


@pytest.mark.parametrize("lowest", range(8))
def test_below_what_is_trained_nothing_changes(lowest: int) -> None:
    """Whatever is frozen below, the others learn as they would with rates of 0 there."""
    X, y = problem("cross_entropy")
    net, arrays = with_parameters(DESCRIPTION, 3)
    trainable = [k >= lowest for k in range(8)]
    history = fastntk.train(net, X, y, learning_rate=0.2, trainable=trainable)
    sizes = [layer.n_parameters for layer in net.network.layers]
    shares = np.concatenate([np.full(n, float(t)) for n, t in zip(sizes, trainable, strict=True)])
    _, expected, _ = descend(
        DESCRIPTION, arrays, X, rows_of(y), "cross_entropy", [np.arange(12)], rate=0.2, omega=shares
    )
    assert_near(history.net.parameters, expected)


def test_a_step_moves_the_function_by_the_kernel() -> None:
    """Δf = −(η/n) K (f − y) + O(η²), with the kernel of the rates of the layers."""
    X, y = problem("mse", n=9)
    net, _ = with_parameters(RATED, 4)
    f, K = net(X), net.ntk(X, outputs="full")
    expected = -np.einsum("ijcd,jd->ic", K, f - y) / 9
    errors = []
    for rate in (1e-5, 1e-6):
        after = fastntk.train(net, X, y, loss="mse", learning_rate=rate).net
        errors.append(np.abs((after(X) - f) / rate - expected).max() / np.abs(expected).max())
    assert errors[1] < 1e-3
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2, abs=0)


def test_the_loss_falls_by_the_square_of_the_gradient() -> None:
    X, y = problem("cross_entropy")
    net, _ = with_parameters(DESCRIPTION, 5)
    rate = 1e-7
    history = fastntk.train(net, X, y, learning_rate=rate, epochs=2)
    fall = (history.loss[0] - history.loss[1]) / rate
    assert fall == pytest.approx(history.gradient_norm[0] ** 2, rel=1e-4, abs=0)


# Those of 200 samples go in blocks, of which the last one is smaller.
@pytest.mark.parametrize("batch", [7, 200])
@pytest.mark.parametrize("activation", ["relu", "tanh", CUBE], ids=str)
def test_a_chain_is_trained_as_the_mlp(
    activation: str | activations.Activation, batch: int
) -> None:
    X, y = problem("cross_entropy", n=230, outputs=4)
    chain = [
        layer
        for width in (40, 30)
        for layer in (Dense(width, bias_std=0.3), layers.Activation(activation))
    ]
    net = fastntk.Network([*chain, Dense(4, bias_std=0.3)], inputs=5).sample(seed=2)
    mlp = fastntk.MLP([5, 40, 30, 4], activation=activation, bias_std=0.3, seed=2)
    options: dict[str, Any] = {
        "learning_rate": 0.3,
        "epochs": 3,
        "batch_size": batch,
        "momentum": 0.5,
        "layer_rates": [1.0, 0.5, 2.0],
        "validation": (X[:20], y[:20]),
    }
    found, expected = fastntk.train(net, X, y, **options), fastntk.train(mlp, X, y, **options)
    for name in ("loss", "gradient_norm", "weight_change", "weight_change_max", "validation_loss"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)
    of_mlp = [array for layer in expected.net.network.layers for array, _ in layer.arrays]
    assert_near(found.net.parameters, of_mlp)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_same_bits_for_any_number_of_threads(dtype: str, momentum: float) -> None:
    X, y = problem("cross_entropy", n=350, d=300)
    block = [LayerNorm(gain=True, shift=True), Dense(270, bias_std=0.2), layers.ReLU(), Dense(520)]
    described = fastntk.Network([Dense(520), Residual(block), RMSNorm(), Dense(3)], inputs=300)
    net = described.sample(dtype=dtype)
    histories = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            histories.append(
                fastntk.train(net, X, y, learning_rate=0.1, batch_size=300, momentum=momentum)
            )
    assert histories[0].status == "completed"
    for other in histories[1:]:
        assert_same_history(histories[0], other)


def test_float32_follows_float64() -> None:
    X, y = problem("cross_entropy", n=40)
    net = DESCRIPTION.sample()
    options: dict[str, Any] = {"learning_rate": 0.1, "epochs": 3, "batch_size": 10}
    double = fastntk.train(net, X, y, **options)
    single = fastntk.train(net.astype("float32"), X, y, **options)
    assert single.net.dtype == np.float32
    np.testing.assert_allclose(single.loss, double.loss, rtol=1e-4)
    np.testing.assert_allclose(single.gradient_norm, double.gradient_norm, rtol=1e-3)


def test_what_is_watched_and_kept() -> None:
    X, y = problem("cross_entropy", n=25)
    net = DESCRIPTION.sample()
    seen: dict[int, FiniteNetwork] = {}
    options: dict[str, Any] = {"learning_rate": 0.1, "epochs": 2, "batch_size": 5}
    history = fastntk.train(
        net,
        X,
        y,
        **options,
        probe=X[:6],
        keep_every=4,
        callback=lambda step, now: seen.update({step: copy.deepcopy(now)}),
        callback_every=2,
    )
    plain = fastntk.train(net, X, y, **options)
    assert all(map(np.array_equal, history.net.parameters, plain.net.parameters))
    assert list(history.networks) == [0, 4, 8, 10]
    assert list(seen) == [2, 4, 6, 8, 10]
    for step, kept in history.networks.items():
        expected = seen[step] if step else net
        assert all(map(np.array_equal, kept.parameters, expected.parameters))
        assert not any(map(np.shares_memory, kept.parameters, history.net.parameters))
    before, after = (each.ntk(X[:6]) for each in (net, history.net))
    change = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert history.probe[-1].relative_change == pytest.approx(change, rel=1e-12, abs=0)
    assert history.probe[-1].condition_number == pytest.approx(np.linalg.cond(after), rel=1e-9)
    inplace = fastntk.train(net, X, y, **options, inplace=True)
    assert inplace.net is net
    assert all(map(np.array_equal, net.parameters, plain.net.parameters))


def test_histories_in_tables_and_files(tmp_path: Path) -> None:
    X, y = problem("cross_entropy", n=25)
    net = DESCRIPTION.sample(dtype="float32")
    history = fastntk.train(net, X, y, learning_rate=0.1, epochs=2, keep_every=1, probe=X[:4])
    assert history.settings["layers"] == "; ".join(map(repr, DESCRIPTION.layers))
    assert (history.to_frame()["inputs"] == 5).all()
    assert history.to_frame()["dtype"].eq("float32").all()
    history.save(tmp_path / "history.npz")
    loaded: Any = fastntk.History.load(tmp_path / "history.npz")
    assert type(loaded.net) is FiniteNetwork
    assert loaded == history
    other = fastntk.train(net, X, y, learning_rate=0.2, epochs=2, keep_every=1, probe=X[:4])
    assert loaded != other


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_goes_on_to_the_same_bits(momentum: float, tmp_path: Path) -> None:
    X, y = problem("cross_entropy", n=25)
    net = RATED.sample(seed=1)
    path = tmp_path / "state.npz"
    options: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 10, "momentum": momentum}
    whole = fastntk.train(net, X, y, epochs=4, probe=X[:4], **options)
    fastntk.train(net, X, y, epochs=2, probe=X[:4], checkpoint=path, **options)
    continued = fastntk.train(net, X, y, epochs=4, probe=X[:4], checkpoint=path, **options)
    assert_same_history(whole, continued)
    other = fastntk.Network(
        [*RATED.layers[:-1], Dense(3, bias_std=0.5, trained=(0.0, 2.0))], inputs=5
    )
    for differs, words in (
        (other.sample(seed=1), "layers, scales"),
        (RATED.sample(seed=2), "net"),
    ):
        with pytest.raises(ValueError, match=f"of the same call, but .*{words}.* differ"):
            fastntk.train(differs, X, y, epochs=4, probe=X[:4], checkpoint=path, **options)


def test_the_seed_is_known_as_long_as_it_holds(tmp_path: Path) -> None:
    """As with an MLP, of which results say the same."""
    X, y = problem("cross_entropy", n=25)
    net = DESCRIPTION.sample(seed=2**100)
    history = fastntk.train(net, X, y, learning_rate=0.1, epochs=2, keep_every=1)
    history.save(tmp_path / "history.npz")
    history.net.save(tmp_path / "net.npz")
    loaded: Any = fastntk.History.load(tmp_path / "history.npz")
    for one in (
        *(net, net.astype("float32"), history.net, *history.networks.values(), loaded.net),
        FiniteNetwork.load(tmp_path / "net.npz"),
        copy.deepcopy(net),
    ):
        assert one.seed == 2**100
    of_mlp = fastntk.train(fastntk.MLP([5, 3], seed=2**100), X, y, learning_rate=0.1, epochs=2)
    drawn = {"init_seed": 2**100, "init_scale": 1.0}
    for settings_of in (history.settings, loaded.settings, of_mlp.settings):
        assert settings_of.items() >= drawn.items()
    given, _ = with_parameters(DESCRIPTION, 0)  # from arrays
    assert given.seed is None
    again = fastntk.train(given, X, y, learning_rate=0.1)
    assert drawn.keys() == set(history.settings) - set(again.settings)
    same = FiniteNetwork.of_network(with_arrays(net.layers, net.inputs, net.parameters))
    assert same.digest() == net.digest()  # it is that of the function alone


@pytest.mark.parametrize("kind", ["layers", "chain", "outputs"])
def test_checkpoints_know_functions_of_the_user(kind: str, tmp_path: Path) -> None:
    """By their values: a name says nothing of them."""

    def cube(share: float) -> Any:
        return activations.custom(
            lambda z: z + share * z**3,
            lambda z: 1 + 3 * share * z**2,
            curvature=lambda z: 6 * share * z,
            name="cube",
        )

    def trained(phi: Any, epochs: int) -> fastntk.History[Any]:
        net: Any = fastntk.MLP([5, 6, 2], activation=phi, activation_scale=1.0)
        if kind == "outputs":
            net = fastntk.MLP([5, 6, 2], output_activation=phi)
        if kind == "layers":
            block = Residual([layers.Activation(phi, scale=1.0), Dense(6)])
            net = fastntk.Network([Dense(6), block, Dense(2)], inputs=5).sample()
        path = tmp_path / "state.npz"
        return fastntk.train(
            net, X, y, loss="mse", learning_rate=0.01, epochs=epochs, checkpoint=path
        )

    X, y = problem("mse", n=12)
    y = y[:, :2]
    name = {
        "layers": r"layers\[1\]\.layers\[0\]=Activation\(Activation\(cube\), scale=1\)",
        "chain": r"activation=Activation\(cube\)",
        "outputs": r"output_activation=Activation\(cube\)",
    }[kind]
    trained(cube(0.125), 2)
    assert len(trained(cube(0.125), 3).loss) == 3
    with pytest.raises(ValueError, match=f"of the same call, but values of {name} differ; remo"):
        trained(cube(0.25), 3)


def test_the_bound_and_the_search() -> None:
    X, y = problem("mse", n=20)
    net = RATED.sample()
    full = net.ntk(X, outputs="full").transpose(0, 2, 1, 3).reshape(60, 60)
    expected = 2 * 20 / np.linalg.eigvalsh(full)[-1]
    bound = fastntk.learning_rate_bound(net, X, loss="mse")
    assert bound == pytest.approx(expected, rel=2e-3, abs=0)
    search = fastntk.find_learning_rate(net, X, y, loss="mse", epochs=3)
    best = next(each for each in search.candidates if each.learning_rate == search.best)
    history = fastntk.train(net, X, y, loss="mse", learning_rate=search.best, epochs=3)
    assert best.final_loss == history.loss[-1]
    assert search.settings["layers"] == history.settings["layers"]


def test_memory_is_asked_for_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = problem("cross_entropy", n=64, d=30)
    net = fastntk.Network([Dense(200), Residual([layers.ReLU(), Dense(200)]), Dense(3)], inputs=30)
    sampled = net.sample()
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    with threadpool_limits(1, user_api="blas"):
        weights = 8 * sampled.n_parameters
        # H and Δ of the batch, and a block on its way: the values and Δ of nodes, and slopes.
        kept = 8 * 64 * (200 + 200 + 3 + 200 + 200 + 1)
        for available, enough in ((weights + kept, False), (weights + 3 * kept, True)):
            monkeypatch.setattr(memory, "available_memory", lambda value=available: value)
            if enough:
                fastntk.train(sampled, X, y, learning_rate=0.1)
                continue
            with pytest.raises(MemoryError, match="the activations of a batch of 64 samples"):
                fastntk.train(sampled, X, y, learning_rate=0.1)


def test_what_interrupts_leaves_whole_steps() -> None:
    X, y = problem("cross_entropy", n=4000, d=20)
    described = fastntk.Network([Dense(64), Residual([RMSNorm(), Dense(64)]), Dense(3)], inputs=20)
    net, start = described.sample(), described.sample()
    options: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 50, "epochs": 10_000}

    class EnoughError(Exception):
        pass

    def enough(_stage: str, done: int, _total: int) -> None:
        if done > 0:
            raise EnoughError

    with pytest.raises(EnoughError):
        fastntk.train(net, X, y, **options, inplace=True, progress=enough)
    assert not np.array_equal(net.parameters[0], start.parameters[0])

    def compare(_step: int, now: FiniteNetwork) -> None:
        if all(map(np.array_equal, now.parameters, net.parameters)):
            raise EnoughError

    with pytest.raises(EnoughError):
        fastntk.train(start, X, y, **options, callback=compare, callback_every=1)


def test_samples_without_a_direction_are_named() -> None:
    X, y = problem("cross_entropy", n=12)
    described = fastntk.Network([LayerNorm(), Dense(4), layers.ReLU(), Dense(3)], inputs=5)
    net = described.sample()
    options: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 5, "epochs": 2}
    assert fastntk.train(net, X, y, **options).status == "completed"
    wrong = X.copy()
    wrong[7] = 0.25
    words = r"\[7\]: the values before layers\[0\]=LayerNorm\(\) are all equal"
    with pytest.raises(ValueError, match="X" + words):
        fastntk.train(net, wrong, y, **options)
    with pytest.raises(ValueError, match=r"validation\[0\]" + words):
        fastntk.train(net, X, y, **options, validation=(wrong, y))
    with pytest.raises(ValueError, match=r"probe: X" + words):
        fastntk.train(net, X, y, **options, probe=wrong)


@pytest.mark.parametrize("probed", [False, True])
def test_a_sample_that_loses_its_direction_in_training(probed: bool) -> None:
    """All units of a ReLU before a normalization may die: that is divergence."""
    net = fastntk.Network([Dense(2), layers.ReLU(), RMSNorm(), Dense(1)], inputs=2).sample()
    X = np.random.default_rng(0).standard_normal((2, 2))
    probe = X if probed else None
    history = fastntk.train(
        net, X, [5.0, -5.0], loss="mse", learning_rate=0.5, epochs=9, probe=probe
    )
    assert history.status == "diverged"
    assert history.loss[1] < history.loss[0] < 15
    if probed:  # before the batch whose step would leave no weights
        with pytest.raises(ValueError, match="have no direction"):
            history.net(X)


def test_divergence_is_no_missing_direction() -> None:
    X, y = problem("mse", n=12)
    net = DESCRIPTION.sample(dtype="float32")
    history = fastntk.train(net, X, y, loss="mse", learning_rate=1e30, epochs=9, keep_every=1)
    assert history.status == "diverged"


def test_bad_targets_and_nets() -> None:
    X, y = problem("mse")
    net: Any = DESCRIPTION.sample()
    with pytest.raises(ValueError, match=r"y has shape \(12, 2\): expected \(12, 3\)"):
        fastntk.train(net, X, y[:, :2], loss="mse", learning_rate=0.1)
    with pytest.raises(ValueError, match=r"X has shape \(12, 4\): expected 5 columns"):
        fastntk.train(net, X[:, :4], y, loss="mse", learning_rate=0.1)
    infinite: Any = DESCRIPTION
    with pytest.raises(TypeError, match=r"expected a fastntk\.MLP or a fastntk\.FiniteNetwork"):
        fastntk.train(infinite, X, y, loss="mse", learning_rate=0.1)
