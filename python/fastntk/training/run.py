# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training of a network: from what a user asks for to the history of what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fastntk._support import arguments
from fastntk._support.progress import monitored
from fastntk.networks.base import require_finite_network
from fastntk.networks.targets import LOSSES
from fastntk.training.checkpoints import Checkpoint, network_description
from fastntk.training.data import TrainingData
from fastntk.training.descent import Sgd, require_training_memory
from fastntk.training.kept_networks import KeptNetworks
from fastntk.training.loop import TrainingLoop
from fastntk.training.networks import net_of
from fastntk.training.probe import KernelProbe
from fastntk.training.settings import (
    TrainingSettings,
    checked_batch_size,
    checked_interval,
    checked_momentum,
    checked_rates,
    checked_target,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from fastntk._support.progress import Progress
    from fastntk.training.history import History
    from fastntk.training.networks import Net


def train(
    net: Net,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: str = "cross_entropy",
    learning_rate: float,
    epochs: int = 1,
    batch_size: int | None = None,
    momentum: float = 0.0,
    seed: int = 0,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    trainable: Sequence[bool] | None = None,
    layer_rates: npt.ArrayLike | None = None,
    loss_target: float | None = None,
    callback: Callable[[int, Net], object] | None = None,
    callback_every: int | None = None,
    probe: npt.ArrayLike | None = None,
    probe_every: int | None = None,
    keep_every: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    inplace: bool = False,
    device: str | None = None,
    data: str | None = None,
    progress: Progress = False,
) -> History[Net]:
    r"""Train a network by gradient descent, on all samples at once or on mini-batches.

    Each step is :math:`w ← w − η\, ∂\text{loss}/∂w` for the raw weights and biases w: in the NTK
    parametrization the gradients carry the factors σ_w/√n and σ_b. Its loss is the mean over the
    samples of the batch of

    .. math::

        \tfrac12 \sum_c (f_c - y_c)^2 \quad\text{(“mse”)}, \qquad
        -\sum_c y_c \log \mathrm{softmax}(f)_c \quad\text{(“cross\_entropy”, natural logarithm)}.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        Where to start from. What is trained is a network of the same kind.
    X : array_like (n, d)
        Samples, one a row.
    y : array_like
        For "cross_entropy" labels (n,) from 0 to C − 1, or probabilities (n, C) that sum to 1 for
        each sample. For "mse" numbers (n, C), or (n,) for a single output.
    loss : {"cross_entropy", "mse"}
        The cross-entropy takes logits, which are the outputs of a net whose outputs are linear:
        another `output_activation` is trained with "mse", on the outputs that it makes.
    learning_rate : float
        η > 0.
    epochs : int
        Passes over the samples, at least 1.
    batch_size : int, optional
        Samples of a step, at most n; by default all n. If it does not divide n, the last batch of
        an epoch has what is left, and its step is that of the mean over fewer samples.
    momentum : float
        0 ≤ μ < 1: v ← μ v + ∂loss/∂w, w ← w − η v.
    seed : int
        The seed of the order of the samples, which is drawn anew for each epoch. With all samples
        in one batch their order is left as it is.
    validation : (array_like (m, d), array_like), optional
        Other samples and targets, evaluated after each epoch.
    trainable : sequence of bool, optional
        For each of the L + 1 layers, whether it is trained; by default all are. Below the lowest
        one nothing is propagated back. Layers of a `FiniteNetwork` are those with parameters.
    layer_rates : array_like (L + 1,) or (L + 1, 2), optional
        What η is multiplied by for each layer, or for its weights and its bias, or its gain and its
        shift. 0 leaves alone. Rates of the network itself, such as those that layers are described
        with (`trained`), count too.
    loss_target : float, optional
        Stop after an epoch whose loss is at most this.
    callback : callable, optional
        Called as ``callback(step, net)`` with the network as it is then: its weights go on
        changing, so what is to be kept must be copied.
    callback_every : int, optional
        After how many steps each; by default after each epoch.
    probe : array_like (m, d), optional
        Samples on which the kernel is followed, m² numbers in float64: see `ProbeResult`.
    probe_every : int, optional
        After how many steps each; by default after each epoch.
    keep_every : int, optional
        After how many steps each a copy of the network is kept in `History.networks`, beside that
        of the start and the last one; those whose weights are finite. By default none is. For
        `fastntk.linearity.kernel_drift`; not beside `checkpoint`.
    checkpoint : path, optional
        An ``.npz`` file that is written after each epoch, completely or not at all. If it is there
        already, training goes on from it, to the same bits as without interruption; it must have
        been written by a call with the same arguments, but for a smaller `epochs` and for
        `callback`, `callback_every`, `inplace`, `data` and `progress`.
    inplace : bool
        Change the weights of `net` itself, and of networks that share them, instead of a copy.
        Whatever interrupts training, steps are complete.
    device : str, optional
        Where to compute: "cuda", "cuda:1", …, or by default where X, y, `validation` and `probe`
        are, all of them on the same side; see `MLP.ntk`. The weights of `net` are the host's: they
        are copied to the GPU at the start, and back at the end of each epoch and where a callback
        or probe is due.
    data : str, optional
        What the samples are called, for the tables of the history: the `name` of a
        `fastntk.datasets.Dataset`, or any other.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` with numbers of steps.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or the checkpoint is of another call.
    MemoryError
        If the weights in training and the activations of a batch do not fit in memory, or what
        `keep_every` asks for.

    Notes
    -----
    Training has diverged when the loss of a batch is not finite, or more than 1000 times that of
    any batch at the initial weights (the mean over those samples whose losses are largest there),
    or when a step leads to a kernel on the probe samples that is not finite: it stops, and
    `History.status` says so. Results do not depend on the number of threads. Losses are summed in
    float64.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = fastntk.MLP([5, 64, 64, 2], seed=1)
    >>> history = fastntk.train(net, X, y, learning_rate=2.0, epochs=50, batch_size=50)
    >>> history.status
    'completed'
    >>> bool(history.loss[-1] < 0.2 * history.loss[0])
    True
    """
    require_finite_network(net)
    arguments.function(callback, "callback", "(step, net)")
    inplace = arguments.flag(inplace, "inplace")
    network = net.network
    called = arguments.optional_label(data, "data")
    given = TrainingData.checked(
        network,
        arguments.choice(loss, "loss", LOSSES),
        X,
        y,
        validation=validation,
        probe=probe,
        device=device,
    )
    settings = TrainingSettings(
        loss=loss,
        rates=checked_rates(network, learning_rate, trainable, layer_rates),
        momentum=checked_momentum(momentum),
        epochs=arguments.integer(epochs, "epochs", minimum=1),
        batch=checked_batch_size(batch_size, len(given.X)),
        seed=arguments.seed(seed),
        loss_target=checked_target(loss_target),
        callback_every=checked_interval(callback_every, "callback_every", callback),
        probe_every=checked_interval(probe_every, "probe_every", probe),
        learning_rate=float(learning_rate),
        data=called,
    )
    require_training_memory(network, settings, len(given.X), given.place)
    file = None
    checkpoint = arguments.optional_path(checkpoint, "checkpoint")
    if keep_every is not None:
        keep_every = arguments.integer(keep_every, "keep_every", minimum=1)
        if checkpoint is not None:  # a file of which, after each epoch, all would be written anew
            raise ValueError(f"keep_every={keep_every}: expected None beside checkpoint")
    if checkpoint is not None:
        call = network_description(network) | given.description | settings.description
        file = Checkpoint(checkpoint, call)
    # The other of the two keeps the initial weights.
    copied = network.copy()
    changing, initial = (network, copied) if inplace else (copied, network)
    kept: KeptNetworks[Net] | None = None
    if keep_every is not None:
        n_steps = settings.epochs * -(-len(given.X) // settings.batch)
        kept = KeptNetworks(changing, keep_every, n_steps)
    loop = TrainingLoop(
        settings=settings,
        data=given,
        sgd=Sgd(changing, settings.rates, loss, settings.momentum, given.place),
        initial=initial,
        net=net if inplace else cast("Net", net_of(changing)),
        probe=None if given.probe is None else KernelProbe(net, given.probe, given.place.device),
        callback=callback,
        checkpoint=file,
        kept=kept,
    )
    with monitored(progress, "training") as monitor:
        return loop.run(monitor)
