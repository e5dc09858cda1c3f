# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Modules of PyTorch with normalizations and skip connections become networks, and back."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastntk
from fastntk import activations, layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.layers import Layer

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn: Any = torch.nn


class Block(nn.Module):  # type: ignore[misc]
    """A user's own: normalized before the branch or after the sum, perhaps with a projection."""

    def __init__(self, width: int, outputs: int, scale: float, norm: Any, *, before: bool) -> None:
        super().__init__()
        self.norm, self.before, self.scale = norm, before, scale
        self.fc1, self.fc2 = nn.Linear(width, 3), nn.Linear(3, outputs, bias=False)
        self.skip = nn.Linear(width, outputs) if width != outputs else None

    def forward(self, h: Any) -> Any:
        inner = self.fc1(self.norm(h) if self.before else h)
        skip = h if self.skip is None else self.skip(h)
        total = skip + self.scale * self.fc2(torch.tanh(inner))
        return total if self.before else self.norm(total)


def parts_of_block(block: Block) -> list[Any]:
    branch = [block.fc1, nn.Tanh(), block.fc2]
    if block.before:
        branch.insert(0, block.norm)
    skip = {"layers": branch, "scale": block.scale, "projection": block.skip}
    return [skip] if block.before else [skip, block.norm]


class Model(nn.Module):  # type: ignore[misc]
    """The module itself is a user's own."""

    def __init__(self, body: Any, head: Any) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Any) -> Any:
        return self.head(torch.nn.functional.silu(self.body(x)))


BLOCKS = {Block: parts_of_block, Model: lambda model: [model.body, nn.SiLU(), model.head]}
ACTIVATIONS = [nn.GELU, nn.Tanh, nn.SiLU, lambda: nn.LeakyReLU(0.2)]


def norm(width: int, draw: st.DrawFn) -> Any:
    if width == 1:
        return nn.BatchNorm1d(width, affine=draw(st.booleans()))
    makes: list[Callable[[], Any]] = [
        lambda: nn.LayerNorm(width, eps=1e-3),
        lambda: nn.LayerNorm(width, bias=False),
        lambda: nn.LayerNorm(width, elementwise_affine=False),
        lambda: nn.RMSNorm(width, eps=0.01),
        lambda: nn.RMSNorm(width, elementwise_affine=False),
        lambda: nn.BatchNorm1d(width),
        lambda: nn.BatchNorm1d(width, eps=0.1, affine=False),
    ]
    return draw(st.sampled_from(makes))()


def with_numbers(module: Any, seed: int) -> Any:
    """Return a module in evaluation mode and float64 whose numbers are not those of the start."""
    torch.manual_seed(seed)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.randn(tensor.shape, dtype=torch.float64)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_var = part.running_var.abs() + 0.1
    return module.eval()


@st.composite
def modules(draw: st.DrawFn) -> Any:
    inputs, width = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    found: list[Any] = [norm(inputs, draw)] if draw(st.booleans()) else []
    found.append(nn.Linear(inputs, width, bias=draw(st.booleans())))
    for _ in range(draw(st.integers(1, 4))):
        what = draw(st.sampled_from(["block", "norm", "activation", "linear", "nothing"]))
        outputs = draw(st.integers(2, 4))
        if what == "block":
            scale, before = draw(st.sampled_from([1.0, 0.3])), draw(st.booleans())
            between = norm(width if before else outputs, draw)
            found.append(nn.Sequential(Block(width, outputs, scale, between, before=before)))
            width = outputs
        elif what == "norm":
            found.append(norm(width, draw))
        elif what == "activation":
            found.append(draw(st.sampled_from(ACTIVATIONS))())
        elif what == "linear":
            found.append(nn.Linear(width, outputs))
            width = outputs
        else:
            found.append(draw(st.sampled_from([nn.Identity, nn.Flatten, nn.Dropout]))())
    head = nn.Linear(width, draw(st.integers(1, 2)))
    body = nn.Sequential(*found)
    module = with_numbers(
        Model(body, head) if draw(st.booleans()) else nn.Sequential(body, head),
        draw(st.integers(0, 2**31)),
    )
    for parameter in module.parameters():
        parameter.requires_grad_(draw(st.booleans()))
    head.bias.requires_grad_(True)
    return module


def jacobian(module: Any, X: Any) -> Any:
    """∂f/∂w (n, C, P) by the parameters that are trained, by torch.func."""
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}

    def outputs(parameters: Any) -> Any:
        return torch.func.functional_call(module, parameters, (torch.from_numpy(X),))

    found = torch.func.jacrev(outputs)(trained)
    return np.concatenate([j.flatten(2).detach().numpy() for j in found.values()], axis=2)


def assert_same(net: Any, module: Any, X: Any) -> None:
    outputs = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(net(X), outputs, rtol=0, atol=1e-10 * np.abs(outputs).max())
    J = jacobian(module, X)
    full = np.einsum("icp,jdp->ijcd", J, J)
    kernel = net.ntk(X, outputs="full")
    np.testing.assert_allclose(kernel, full, rtol=0, atol=1e-10 * np.abs(full).max())


def check_both_ways(module: Any, seed: int) -> None:
    net = fastntk.from_torch(module, blocks=BLOCKS)
    X = np.random.default_rng(seed).standard_normal((3, net.network.input_width))
    assert_same(net, module, X)
    back = net.to_torch()
    again = fastntk.from_torch(back)
    assert type(again) is type(net)
    assert again.digest() == net.digest()
    assert_same(again, back, X)


@settings(max_examples=30, deadline=None)
@given(module=modules(), seed=st.integers(0, 2**31))
def test_any_module_and_back(module: Any, seed: int) -> None:
    check_both_ways(module, seed)


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(module=modules(), seed=st.integers(0, 2**31))
def test_thousands_of_modules_and_back(module: Any, seed: int) -> None:
    check_both_ways(module, seed)


def model(*between: Any) -> Any:
    return nn.Sequential(nn.Linear(5, 6), *between, nn.Linear(6, 2))


def test_what_a_chain_becomes() -> None:
    for chain in (model(nn.Tanh()), model(), nn.Sequential(nn.Linear(5, 2), nn.Sigmoid())):
        net = fastntk.from_torch(chain)
        assert isinstance(net, fastntk.MLP)
        assert net.digest() == fastntk.MLP.from_torch(chain).digest()
    others = [nn.LayerNorm(6)], [nn.ReLU(), nn.Tanh()], [nn.ReLU(), nn.Linear(6, 6), nn.Tanh()]
    for between in others:
        net = fastntk.from_torch(model(*between))
        assert isinstance(net, fastntk.FiniteNetwork)
        with pytest.raises(ValueError, match=r"^module\[.*fastntk\.from_torch reads such modules"):
            fastntk.MLP.from_torch(model(*between))


def test_the_description_of_a_module() -> None:
    block = Block(6, 6, 0.5, nn.LayerNorm(6), before=True)
    module = with_numbers(model(nn.BatchNorm1d(6), block), 0)
    block.fc2.requires_grad_(False)
    net = fastntk.from_torch(module, blocks=BLOCKS)
    assert isinstance(net, fastntk.FiniteNetwork)
    first, statistics, scaled, residual, _ = net.layers
    assert first == layers.Dense(6, weight_std=5**0.5, bias_std=1.0)
    assert (statistics, scaled) == (layers.Rescale(trained=False), layers.Rescale())
    assert residual == layers.Residual(
        [
            layers.LayerNorm(gain=True, shift=True, epsilon=1e-5),
            layers.Dense(3, weight_std=6**0.5, bias_std=1.0),
            layers.Tanh(scale=1.0),
            layers.Dense(6, weight_std=3**0.5, trained=False),
        ],
        scale=0.5,
    )
    assert np.array_equal(net.parameters[0], module[0].weight.detach().numpy())
    s = 1 / np.sqrt(module[1].running_var.numpy() + 1e-5)
    np.testing.assert_allclose(net.parameters[2], s, rtol=1e-15)
    np.testing.assert_allclose(net.parameters[3], -s * module[1].running_mean.numpy(), rtol=1e-15)
    with torch.no_grad():  # copies
        module[0].weight.zero_()
    assert np.abs(net.parameters[0]).max() > 0


def test_a_single_neuron_that_is_normalized() -> None:
    """PyTorch's RMSNorm always has an ε, with which it keeps more than a sign."""
    module = nn.Sequential(nn.Linear(6, 1), nn.RMSNorm(1, eps=0.1), nn.Linear(1, 2)).double()
    net: Any = fastntk.from_torch(module)
    assert net.layers[1] == layers.RMSNorm(gain=True, epsilon=0.1)
    X = np.random.default_rng(0).standard_normal((3, 6))
    expected = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(net(X), expected, rtol=1e-12)


def test_single_precision_and_its_epsilon() -> None:
    """A root mean square as small as the ε that PyTorch takes for float32 by itself."""
    module = nn.Sequential(nn.Linear(5, 6, bias=False), nn.RMSNorm(6), nn.Linear(6, 2))
    with torch.no_grad():
        module[0].weight *= 1e-3
    net = fastntk.from_torch(module)
    assert net.dtype == np.float32
    X = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    outputs = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(net(X), outputs, rtol=1e-5)
    assert fastntk.from_torch(module, check=(X, outputs)).digest() == net.digest()
    with pytest.raises(ValueError, match=r"check\[1\] has outputs that differ"):
        fastntk.from_torch(module, check=(X, 1.001 * outputs))


def test_nothing_of_a_module_is_changed() -> None:
    module = with_numbers(
        model(nn.BatchNorm1d(6), Block(6, 6, 1.0, nn.RMSNorm(6), before=False)), 1
    )
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state, names = torch.get_rng_state(), [name for name, _ in module.named_modules()]
    fastntk.from_torch(module, blocks=BLOCKS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert [name for name, _ in module.named_modules()] == names


def test_networks_of_layers_become_modules() -> None:
    """What PyTorch has no module for: scales that no weights take, gains and shifts alone."""
    block = layers.Residual([layers.Rescale(shift=False), layers.Tanh()], scale=0.25)
    described: list[Layer] = [
        layers.Dense(6, weight_std=1.3, bias_std=0.4, trained=(0, 1)),
        layers.RMSNorm(gain=True, shift=True, epsilon=0.1),
        layers.ReLU(),
        layers.LayerNorm(shift=True, epsilon=0.2, trained=False),
        layers.Activation("identity", scale=3.0),
        layers.Rescale(trained=(1, 0)),
        block,
        layers.Residual([layers.GELU(), layers.Dense(4)], projection=layers.Dense(4)),
        layers.Activation("identity", scale=0.5),
        layers.Dense(3),
    ]
    for dtype in ("float64", "float32"):
        net = fastntk.Network(described, inputs=5).sample(1, dtype)
        module = net.to_torch()
        assert not module.training
        X = np.random.default_rng(0).standard_normal((4, 5)).astype(dtype)
        outputs = module(torch.from_numpy(X)).detach().numpy()
        assert outputs.dtype == dtype
        tolerance = 1e-12 if dtype == "float64" else 1e-4
        np.testing.assert_allclose(outputs, net(X), rtol=tolerance, atol=tolerance)
        again = fastntk.from_torch(module)
        np.testing.assert_allclose(again(X), net(X), rtol=tolerance, atol=tolerance)
        if dtype == "float64":
            assert_same(again, module, X)
            assert_same(again, pickle.loads(pickle.dumps(module)), X)
    assert [p.requires_grad for p in module.parameters()][:4] == [False, True, True, True]


def test_networks_of_layers_that_are_no_modules() -> None:
    def sampled(*between: Layer) -> fastntk.FiniteNetwork:
        return fastntk.Network([layers.Dense(4), *between, layers.Dense(1)], inputs=2).sample()

    inner = layers.Residual([layers.Erf(), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"^layers\[1\]\.layers\[0\]=.*erf.*: expected one that"):
        sampled(inner).to_torch()
    with pytest.raises(ValueError, match=r"0\.5 for the gain of layers\[1\]: expected 0 or 1"):
        sampled(layers.RMSNorm(gain=True, trained=0.5)).to_torch()
    with pytest.raises(ValueError, match=r"2 for the bias of layers\[1\]: expected 0 or 1"):
        sampled(layers.Dense(4, bias_std=1.0, trained=(1, 2))).to_torch()
    projected = layers.Residual([layers.Dense(3)], projection=layers.Dense(3, trained=0.5))
    with pytest.raises(ValueError, match=r"the weight of layers\[1\]\.projection: expected 0 or 1"):
        sampled(projected).to_torch()
    large = sampled(layers.ReLU(scale=100.0), layers.Dense(4, weight_std=1e38)).astype("float32")
    with pytest.raises(OverflowError, match=r"weight of layers\[2\]: .* beyond float32"):
        large.to_torch()


def own(parts: Callable[[Any], Any]) -> dict[type, Callable[[Any], Any]]:
    return {Block: parts}


def a_block() -> Any:
    return Block(6, 6, 0.5, nn.LayerNorm(6), before=True)


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (
            [nn.LayerNorm(7)],
            r"module\[1\] is LayerNorm.*of 7 neurons: expected 6.*module\[0\]",
        ),
        (
            [nn.RMSNorm((1, 6))],
            r"module\[1\] is RMSNorm.*: expected a normalized_shape of one",
        ),
        ([nn.BatchNorm1d(6)], r"module\[1\] is BatchNorm1d.*in training mode: .*module\.eval\(\)"),
        (
            [nn.BatchNorm1d(6, track_running_stats=False).eval()],
            r"module\[1\] is BatchNorm1d.* without running statistics: .*expected evaluation mode",
        ),
        ([nn.BatchNorm1d(5).eval()], r"module\[1\] is BatchNorm1d.*of 5 neurons: expected 6"),
        ([nn.Linear(6, 1), nn.LayerNorm(1), nn.Linear(1, 6)], r"\[2\] is LayerNorm.*but 0: expec"),
        (
            [nn.Linear(4, 6), nn.RMSNorm(6)],
            r"module\[1\]\.weight has shape \(6, 4\): expected 6",
        ),
        ([nn.RMSNorm(6), nn.Softmax(-1)], r"module\[2\] is a Softmax between layers: expected"),
        ([nn.GroupNorm(2, 6)], r"module\[1\] is of class .*GroupNorm: .*blocks= describes"),
        ([a_block()], r"module\[1\] is of class .*Block: expected .* LayerNorm, RMSNorm, Batch"),
        ([nn.LayerNorm(6).double()], r"module\[1\]\.weight has dtype torch\.float64: expected"),
    ],
)
def test_modules_that_are_no_such_network(between: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastntk.from_torch(model(*between))


def test_ends_of_modules() -> None:
    with pytest.raises(ValueError, match=r"module\[1\] ends the module: expected a Linear at the"):
        fastntk.from_torch(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))
    with pytest.raises(ValueError, match=r"^module: expected at least one Linear"):
        fastntk.from_torch(nn.Sequential(nn.Identity()))
    with pytest.raises(TypeError, match="module is a mapping: expected a "):
        fastntk.from_torch(model(nn.LayerNorm(6)).state_dict())
    with pytest.raises(TypeError, match=r"module is of class builtins\.int: expected a torch\.nn"):
        fastntk.from_torch(3)
    norm_ = nn.LayerNorm(6)
    with pytest.raises(ValueError, match=r"module\[1\]\.weight and module\[2\]\.weight are tied"):
        fastntk.from_torch(model(norm_, norm_))
    frozen = model(nn.BatchNorm1d(6)).eval().requires_grad_(False)
    with pytest.raises(ValueError, match="are frozen"):
        fastntk.from_torch(frozen)
    batch = model(nn.BatchNorm1d(6)).eval()
    batch[1].running_var[2] = -1
    with pytest.raises(ValueError, match=r"module\[1\]\.running_var has -1 as its smallest"):
        fastntk.from_torch(batch)


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        (3, TypeError, "blocks=3: expected a dict of classes of modules"),
        ({Block: 3}, TypeError, "expected classes of modules as keys, and for each a function"),
        ({"Block": parts_of_block}, TypeError, "expected classes of modules as keys"),
        ({nn.Linear: parts_of_block}, ValueError, "blocks has Linear, which is known: expected"),
        (own(lambda block: [block]), ValueError, r"module\[1\] is a part of itself"),
        (own(lambda _: 3), TypeError, r"blocks\[Block\]\(module\[1\]\) is 3: expected a list"),
        (
            own(lambda _: [3]),
            TypeError,
            r"blocks\[Block\]\(module\[1\]\)\[0\] is of class",
        ),
        (own(lambda _: {"scale": 1.0}), ValueError, "has the keys 'scale': expected 'layers'"),
        (own(lambda _: {}), ValueError, "has the keys of an empty dict: expected 'layers'"),
        (
            own(lambda block: {"layers": [block.fc1, block.fc2], "branch": 1}),
            ValueError,
            "has the keys 'layers', 'branch': expected 'layers'",
        ),
        (
            own(lambda block: {"layers": [block.fc1, block.fc2], "scale": -1.0}),
            ValueError,
            r"\(module\[1\]\)\[0\]\['scale'\]=-1\.0: expected a finite number of at least 0",
        ),
        (
            own(lambda block: {"layers": [block.norm, block.fc1]}),
            ValueError,
            r"module\[1\]\.fc1 ends a branch with width 3, .*adds to what has width 6",
        ),
        (own(lambda _: {"layers": []}), ValueError, "the branch .* computes nothing"),
        (
            own(lambda block: {"layers": [block.fc1, block.fc2], "projection": block.norm}),
            ValueError,
            r"module\[1\]\.norm is a projection of a skip connection: expected a Linear",
        ),
        # Wrong descriptions: what is left out, another activation, another scale.
        (
            own(lambda block: {"layers": [block.fc1, nn.Tanh(), block.fc2], "scale": 0.5}),
            ValueError,
            r"module has 101 parameters, \+12 than its layers have",
        ),
        (
            own(
                lambda block: {
                    "layers": [block.norm, block.fc1, nn.ReLU(), block.fc2],
                    "scale": 0.5,
                }
            ),
            ValueError,
            "module computes for 8 random samples outputs that differ by up to",
        ),
        (
            own(lambda block: {"layers": parts_of_block(block)[0]["layers"], "scale": 0.6}),
            ValueError,
            "module computes for 8 random samples outputs that differ by up to",
        ),
    ],
)
def test_descriptions_that_are_none(blocks: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastntk.from_torch(model(a_block()), blocks=blocks)


def test_blocks_are_plain_too() -> None:
    module = model(a_block())
    fastntk.from_torch(module, blocks=BLOCKS)
    module[1].fc1.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r"^module\[1\]\.fc1 has forward hooks"):
        fastntk.from_torch(module, blocks=BLOCKS)


class FromNothing(nn.Module):  # type: ignore[misc]
    """A block with a branch that begins at 0, as many do."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 6), nn.Linear(6, 6)
        nn.init.normal_(self.down.weight, std=size)
        nn.init.zeros_(self.down.bias)

    def forward(self, h: Any) -> Any:
        return h + self.down(torch.relu(self.up(h)))


@pytest.mark.parametrize("size", [0.0, 1e-9])
def test_wrong_descriptions_of_branches_that_begin_at_0(size: float) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), FromNothing(size), FromNothing(size), nn.Linear(6, 1))
    X = np.random.default_rng(0).standard_normal((5, 3))
    outputs = module(torch.tensor(X, dtype=torch.float32)).detach().numpy()

    def read(phi: Any, scale: float) -> Any:
        def parts(block: Any) -> list[Any]:
            return [{"layers": [block.up, phi, block.down], "scale": scale}]

        return fastntk.from_torch(module, blocks={FromNothing: parts}, check=(X, outputs))

    read(nn.ReLU(), 1.0)
    for phi, scale in ((nn.Tanh(), 1.0), (nn.LeakyReLU(1e-3), 1.0), (nn.ReLU(), 0.5)):
        with pytest.raises(ValueError, match="parameters moved a little, outputs that differ"):
            read(phi, scale)


class Clamped(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(5, 9), nn.Linear(9, 1)

    def forward(self, h: Any) -> Any:
        return self.down(nn.functional.relu6(self.up(h)))


def test_limits_that_random_samples_do_not_reach() -> None:
    def read(phi: Any) -> Any:
        return fastntk.from_torch(Clamped(), blocks={Clamped: lambda m: [m.up, phi, m.down]})

    read(nn.ReLU6())
    with pytest.raises(ValueError, match="random samples times 100 outputs that differ"):
        read(nn.ReLU())


def deep(phi: Callable[[], Any], factor: float, layers: int) -> Any:
    torch.manual_seed(1)
    made = [layer for _ in range(layers) for layer in (nn.Linear(64, 64).double(), phi())]
    for linear in made[::2]:
        linear.weight.data *= factor
    return nn.Sequential(*made[:-1])


def test_rounding_that_grows_is_no_other_function() -> None:
    module = deep(nn.Tanh, 6.0, 70)
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 64)))
    with torch.no_grad():
        outputs = module(X)
        assert (module(X * (1 + 1e-15)) - outputs).abs().max() > 2e-6 * outputs.abs().max()
    assert isinstance(fastntk.from_torch(module), fastntk.MLP)
    with pytest.raises(ValueError, match="outputs that differ"):
        fastntk.from_torch(
            Formula(module), blocks={Formula: lambda m: [*m.layers[:-2], m.layers[-1]]}
        )


class Formula(nn.Module):  # type: ignore[misc]
    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, h: Any) -> Any:
        return self.layers(h)


def test_large_samples_may_be_out_of_range() -> None:
    module = deep(nn.ReLU, 9e25, 12)
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 64)))
    assert module(X).isfinite().all()
    assert not module(100 * X).isfinite().all()
    assert isinstance(fastntk.from_torch(module), fastntk.MLP)


def test_states_of_other_architectures_are_refused_by_name() -> None:
    state = model(nn.LayerNorm(6)).state_dict()
    with pytest.raises(ValueError, match=r"module\['1\.weight'\] has shape \(6,\): expected"):
        fastntk.MLP.from_torch(state, activation="relu")
    state = model(nn.BatchNorm1d(6)).state_dict()
    message = "'1.running_mean', '1.running_var', '1.num_batches_tracked': expected a weight"
    with pytest.raises(ValueError, match=re.escape(message) + ".*fastntk.from_torch"):
        fastntk.MLP.from_torch(state, activation="relu")


def test_modules_of_all_activations_are_read() -> None:
    known = [phi for phi in map(activations.get, activations.names()) if phi.module is not None]
    for phi in known:
        described = [layers.Dense(6), layers.Activation(phi), layers.RMSNorm(), layers.Dense(2)]
        net = fastntk.Network(described, inputs=5).sample(2)
        again = fastntk.from_torch(net.to_torch())
        assert isinstance(again, fastntk.FiniteNetwork)
        assert again.layers[1] == layers.Activation(phi, scale=phi.scale)
