# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules as networks, whichever they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastntk.architectures.finite import FiniteNetwork
from fastntk.mlp import MLP
from fastntk.networks.torch_checks import require_outputs, require_same
from fastntk.networks.torch_modules import chain_of, no_chain
from fastntk.networks.torch_parts import parts_of
from fastntk.networks.torch_wired import wired_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

_DOUBLE_EPSILON = 2.0**-52


def from_torch(
    module: Any,
    *,
    blocks: Mapping[type, Callable[[Any], Any]] | None = None,
    check: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> MLP | FiniteNetwork:
    """Return the network that a PyTorch module is, with its normalizations and skip connections.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Sequential``, nested or not, of ``Linear``, activations, ``LayerNorm``, ``RMSNorm``,
        ``BatchNorm1d`` and ``Dropout`` in evaluation mode, ``Flatten`` and ``Identity``; and of
        classes that `blocks` describes, of which it may be one itself. All of them in float32 or
        float64, without hooks or parametrizations, and no parameter used twice.
    blocks : mapping of type to callable, optional
        What classes of your own compute: for each a function that takes a module and returns the
        list of its parts, in order. A part is a module, or a dict for a skip connection, with the
        parameters of `fastntk.layers.Residual`: "layers", the list of the parts of the branch, and
        perhaps "scale", a number, and "projection", a ``Linear``. For functions without parameters
        that `forward` calls, such as ``torch.relu``, the list has a new module.
    check : (array_like (n, d), array_like (n, C)), optional
        As for `fastntk.MLP.from_torch`.

    Returns
    -------
    MLP or FiniteNetwork
        An `MLP`, as `MLP.from_torch` makes it, of a chain of ``Linear`` layers with one activation
        between them all, and perhaps one of the outputs; a `FiniteNetwork` of all others. The same
        function, and kernels and derivatives with respect to the module's own parameters, of which
        those that are frozen have the layer weight ω = 0. The arrays are copies.

        A ``Dense`` of the network has the weights and the bias of PyTorch's ``Linear``: its
        ``weight_std`` is √n, for n inputs, and its ``bias_std`` is 1, and both make the factors 1.

    Raises
    ------
    ValueError, TypeError
        If the module is another network than can be made here, with the place and the reason.

    See Also
    --------
    fastntk.MLP.from_torch : Chains alone; it also reads a `state_dict`.
    fastntk.FiniteNetwork.to_torch : The inverse.

    Notes
    -----
    What cuts gradients off in ``forward``, as ``detach`` does, changes no output, and is not seen:
    the network has the gradients that its layers have.

    Before it is returned, the numbers of parameters are compared, and the outputs of the module and
    of the network: for random samples, and for these times 100, with the module's parameters, and
    with others nearby that it is lent, as a branch that begins at 0 has no part in the outputs
    before. So a wrong description of a block is found where it differs for any of these; `check`
    has samples of yours.

    A batch normalization in evaluation mode is an affine map of each neuron, γ (z − m)/√(v + ε) + β
    with the running mean m and variance v. It becomes two layers `fastntk.layers.Rescale`: one with
    the gain 1/√(v + ε) and the shift −m/√(v + ε), which are not trained, and one with γ and β. So
    kernels are exactly those of the module in evaluation mode, by its own parameters. The former
    are parameters of the network as any that are frozen: `jacobian` has columns of them. In
    training mode an output depends on all samples of a batch, and there is no such kernel.

    Examples
    --------
    With a block that adds what it is given, and modules that have it::

        class Block(torch.nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm = torch.nn.LayerNorm(width)
                self.up, self.down = torch.nn.Linear(width, width), torch.nn.Linear(width, width)

            def forward(self, h):
                return h + 0.5 * self.down(torch.relu(self.up(self.norm(h))))

        def parts(block):
            branch = [block.norm, block.up, torch.nn.ReLU(), block.down]
            return [{"layers": branch, "scale": 0.5}]

        model = torch.nn.Sequential(torch.nn.Linear(20, 64), Block(64), torch.nn.Linear(64, 1))
        net = fastntk.from_torch(model, blocks={Block: parts})
    """
    if isinstance(module, Mapping):
        raise TypeError(
            "module is a mapping: expected a torch.nn.Module; a state_dict does not say what is "
            "computed with its arrays: load it into its module (load_state_dict), or, of a chain "
            "of Linear layers, give it to fastntk.MLP.from_torch"
        )
    parts = parts_of(module, {} if blocks is None else blocks)
    network: MLP | FiniteNetwork
    if no_chain(parts) is None:
        network = MLP.of_network(chain_of(parts))
        require_same(module, parts, chain_of)
    else:
        network = FiniteNetwork.of_network(wired_of(parts))
        # In the precision in which it is compared, PyTorch takes another ε.
        require_same(module, parts, lambda parts: wired_of(parts, _DOUBLE_EPSILON))
    if check is not None:
        require_outputs(network.network, check)
    return network
