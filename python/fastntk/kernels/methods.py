# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The empirical kernels of a finite network: tangent kernel, its parts, its tiles, its angles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from fastntk._support import arguments
from fastntk.activations.outputs import shown_output
from fastntk.devices.places import place_of
from fastntk.kernels.block_loop import BlockLoop
from fastntk.kernels.closest_pairs import CANDIDATES, closest_pairs, pair_angles
from fastntk.kernels.destinations import kernel_to, new_kernels
from fastntk.kernels.ranges import free_of_scale, require_gradients_in_range
from fastntk.kernels.request import KernelRequest
from fastntk.networks.base import FiniteNetworkBase
from fastntk.networks.network import Network

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.kernels.angles import AnglePair
    from fastntk.kernels.planning import Plan
    from fastntk.kernels.rounding import KernelErrors
    from fastntk.symmetric.packed import PackedKernel


class KernelTile(NamedTuple):
    """A block of a kernel, and where it lies.

    Attributes
    ----------
    rows, cols : slice
        The samples of its rows and of its columns.
    kernel : ndarray (rows, cols)
        The values.
    """

    rows: slice
    cols: slice
    kernel: FloatArray


class KernelMethods(FiniteNetworkBase):
    """Kernels of a finite network."""

    @overload
    def ntk(  # type: ignore[overload-overlap]
        self,
        X: npt.ArrayLike,
        Z: None = None,
        *,
        outputs: Literal["trace"] | int = "trace",
        layer_weights: npt.ArrayLike | None = None,
        dtype: npt.DTypeLike | None = None,
        out: Literal["packed"],
        overwrite: bool = False,
        device: str | None = None,
        progress: Progress = False,
    ) -> PackedKernel: ...
    @overload
    def ntk(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None = None,
        *,
        outputs: Literal["trace", "diagonal", "full"] | int = "trace",
        layer_weights: npt.ArrayLike | None = None,
        dtype: npt.DTypeLike | None = None,
        out: FloatArray | str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        device: str | None = None,
        progress: Progress = False,
    ) -> FloatArray: ...
    def ntk(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None = None,
        *,
        outputs: Literal["trace", "diagonal", "full"] | int = "trace",
        layer_weights: npt.ArrayLike | None = None,
        dtype: npt.DTypeLike | None = None,
        out: FloatArray | str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        device: str | None = None,
        progress: Progress = False,
    ) -> FloatArray | PackedKernel:
        r"""Return the (empirical) neural tangent kernel K(X, Z) = ⟨∂f(X)/∂w, ∂f(Z)/∂w⟩.

        Computed without the gradients, from the activations H and the backward signals Δ [1]_:

        .. math::

            K = \sum_{l=1}^{L+1} ω_l (Δ^l Δ^{l⊤}) ∘
                \left( \frac{σ_w^2}{n_{l-1}} H^{l-1} H^{l-1⊤} + σ_b^2 \right)

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        Z : array_like (m, d), optional
            Other samples. Without them the kernel is K(X, X), symmetric to the last bit.
        outputs : "trace", "diagonal", "full" or int
            "trace": the sum over the outputs, Σ_c K^{cc} (not divided by C); "diagonal": K^{cc} of
            each output; "full": K^{cc'} of each pair of outputs; an int: K^{cc} of one output.
            None of them is the kernel of the sum of the outputs, which is Σ_{cc'} K^{cc'}.
        layer_weights : array_like (L + 1,) or (L + 1, 2), optional
            ω ≥ 0 of the layers, or of their weights and biases: (1, 0, …, 0) if only the first
            layer is trained, learning rates where they differ. By default 1: each parameter counts
            as it is in this network's parametrization.
        dtype : {"float32", "float64"}, optional
            Precision of the Gram matrices and of the result; by default that of the network. For a
            condition number take float64, even of a float32 network: its weights then pass the
            samples, which it has rounded to float32, on in float64, too.
        out : ndarray (n, m), path or "packed", optional
            Where the kernel is to go, such as a ``numpy.memmap``, or the name of a ``.npy`` file
            that is written and returned as a memory map: kernels may be larger than memory. Only
            for a single kernel ("trace" or one output). "packed": return a `PackedKernel`, in half
            the memory; without Z. All these are the host's; where the samples lie on a GPU, it may
            also be an array of CuPy.
        overwrite : bool
            Whether a file that is at the path `out` may be lost. Otherwise that is an error before
            any work: a kernel in a file does not say of which network and samples it is.
        device : str, optional
            "cuda" computes on the first NVIDIA GPU, "cuda:1" on the second, and so on, for arrays
            of the host; kernels that are too large for the GPU's memory block by block. By default
            the work is done where the samples are: on the processor, or for arrays on a GPU (CuPy,
            DLPack or ``__cuda_array_interface__``) there, and results are then arrays of CuPy.
        progress : bool or callable
            Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

        Returns
        -------
        ndarray or PackedKernel
            (n, m) for "trace" and one output, (n, m, C) for "diagonal", (n, m, C, C) for "full":
            the kernel as a matrix of n C rows, sample-major, is then
            ``K.transpose(0, 2, 1, 3).reshape(n * C, m * C)``. The same to the last bit for any
            number of threads.

        Raises
        ------
        FileExistsError
            If there is a file at the path `out` already.
        MemoryError
            If the kernel and the features do not fit in the memory that is available.
        RuntimeError
            If `device` cannot be used; see `fastntk.cuda.why_not`.

        References
        ----------
        .. [1] R. Novak, J. Sohl-Dickstein, S. S. Schoenholz, "Fast finite width neural tangent
           kernel", ICML 2022.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net = fastntk.MLP([2, 64, 3])
        >>> X = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
        >>> net.ntk(X).shape, net.ntk(X, X[:1], outputs="full").shape
        ((3, 3), (3, 1, 3, 3))
        >>> K = net.ntk(X, outputs="diagonal")
        >>> bool(np.allclose(K.sum(axis=2), net.ntk(X)))
        True
        """
        overwrite = arguments.flag(overwrite, "overwrite")
        request = KernelRequest.checked(
            self.network.weighted(layer_weights),
            X,
            Z,
            outputs=outputs,
            names=("trace", "diagonal", "full"),
            dtype=dtype,
            device=device,
        )
        if out is not None:
            if request.split != "none":
                raise ValueError(
                    f"outputs={arguments.shown(outputs)}: expected 'trace' or one output with out=…"
                )
            return kernel_to(request, out, progress, overwrite=overwrite)
        kernels = new_kernels(request, progress)
        if request.split == "outputs":
            by_output: FloatArray = kernels.transpose(1, 2, 0)
            return by_output
        if request.split == "output_pairs":
            count = len(request.outputs)
            pairs: FloatArray = kernels.reshape(count, count, *request.shape)
            return pairs.transpose(2, 3, 0, 1)
        kernel: FloatArray = kernels[0]
        return kernel

    def ntk_errors(
        self,
        X: npt.ArrayLike,
        *,
        outputs: Literal["trace"] | int = "trace",
        layer_weights: npt.ArrayLike | None = None,
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
    ) -> KernelErrors:
        """Return proved bounds of what rounding did to `ntk` of the same arguments.

        They are what makes the bounds of `fastntk.conditioning` certain: those of the kernel, in
        exact arithmetic, of these weights and samples, which networks in float32 round to float32
        first. They hold for every sample and pair, so that they serve for the kernel of any subset
        of the samples, too. The proof is a running error analysis, which costs about as much as the
        passes of `ntk` do.

        Parameters
        ----------
        X, outputs, layer_weights, dtype, device
            As in `ntk`. The bounds hold for any device that computes in standard arithmetic; they
            are found on the processor.

        Returns
        -------
        dict
            ``feature_error`` and ``kernel_error``, the arguments of `fastntk.conditioning`.

        Notes
        -----
        Proved bounds are far above what rounding does as a rule: they take no account of roundings
        that cancel, and grow by a factor of two or three with each layer, and by more with one that
        is normalized. In float64 they are still far below what matters for a condition number up to
        a depth of about 10; in float32 they are of use in narrow networks only, and
        ``net.astype("float64")`` has the same weights and a kernel with useful bounds. What
        rounding does as a rule is `feature_error`. Nothing is proved, and the bounds are infinite,
        where something overflows, where no unit of a layer is active, for activations that the core
        does not compute itself, and for a softmax of the outputs.

        Products of the Gram matrices that vanish below the smallest normal number are taken for
        exact; `ntk` refuses kernels of which nothing else is left.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> X = np.random.default_rng(0).standard_normal((50, 5))
        >>> net = fastntk.MLP([5, 128, 128, 1])
        >>> result = fastntk.conditioning(net.ntk(X), **net.ntk_errors(X))
        >>> result.condition_number in result.bounds.condition_number
        True
        """
        from fastntk.kernels.error_bounds import kernel_errors  # rarely needed

        request = KernelRequest.checked(
            self.network.weighted(layer_weights),
            X,
            None,
            outputs=outputs,
            dtype=dtype,
            device=device,
        )
        return kernel_errors(
            request.network.network,
            request.place.on_host(request.X),
            request.outputs,
            request.dtype,
        )

    def ntk_by_layer(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None = None,
        *,
        outputs: Literal["trace"] | int = "trace",
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
        progress: Progress = False,
    ) -> FloatArray:
        """Return what each layer's parameters contribute to the tangent kernel.

        Parameters
        ----------
        X, Z, outputs, dtype, device, progress
            As in `ntk`.

        Returns
        -------
        ndarray (L + 1, n, m)
            The kernels of the layers 1, …, L + 1, which add up to `ntk`.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net = fastntk.MLP([2, 64, 64, 1])
        >>> layers = net.ntk_by_layer(np.eye(2))
        >>> bool(np.allclose(layers[0], net.ntk(np.eye(2), layer_weights=[1, 0, 0])))
        True
        """
        request = KernelRequest.checked(
            self.network, X, Z, outputs=outputs, split="layers", dtype=dtype, device=device
        )
        layers: FloatArray = new_kernels(request, progress)
        return layers

    def conjugate_kernel(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None = None,
        *,
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
        progress: Progress = False,
    ) -> FloatArray:
        """Return the part of the tangent kernel of one output that comes from the readout.

        A rate ω that a description gives to its readout (``trained=``) is left out, and a frozen
        one counts. In the NTK parametrization the result is σ_w² h^L h^L'/n_L + σ_b², the
        covariance of the outputs given the last hidden layer; in the standard one h^L h^L' + 1
        (without biases h^L h^L').

        Parameters
        ----------
        X, Z, dtype, device, progress
            As in `ntk`.

        Returns
        -------
        ndarray (n, m)

        Raises
        ------
        ValueError
            If the outputs have an activation: what comes from the readout is then another matrix
            for each output, that of `ntk_by_layer`.
        """
        network = self.network
        if isinstance(network, Network) and not network.has_linear_outputs:
            raise ValueError(
                f"output_activation={shown_output(network.output_activation)}: expected a "
                "network with output_activation='identity', whose outputs have this part of their "
                "kernels in common"
            )
        hidden = len(network.layers) - 1
        readout_only = network.with_kernel_weights([(0.0, 0.0)] * hidden + [(1.0, 1.0)])
        request = KernelRequest.checked(readout_only, X, Z, outputs=0, dtype=dtype, device=device)
        kernel: FloatArray = new_kernels(request, progress)[0]
        return kernel

    @overload
    def smallest_angle(
        self,
        X: npt.ArrayLike,
        k: None = None,
        *,
        device: str | None = None,
        progress: Progress = False,
    ) -> AnglePair: ...
    @overload
    def smallest_angle(
        self,
        X: npt.ArrayLike,
        k: int,
        *,
        device: str | None = None,
        progress: Progress = False,
    ) -> list[AnglePair]: ...
    def smallest_angle(
        self,
        X: npt.ArrayLike,
        k: int | None = None,
        *,
        device: str | None = None,
        progress: Progress = False,
    ) -> AnglePair | list[AnglePair]:
        """Return the smallest angle between the gradients at two samples, or the k smallest.

        The kernel is formed in float64, tile by tile, and never kept; memory is that of the
        features. The angles of the closest pairs are then computed again from the differences of
        the samples: they keep their digits however close the samples are, and are 0 and not
        `resolved` where the gradients differ by less than 1e-292.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row; n ≥ 2.
        k : int, optional
            How many pairs.
        device : str, optional
            Where the pairs are found, as in `ntk`. The angles of those found are computed on the
            processor.
        progress : bool or callable
            Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

        Returns
        -------
        AnglePair, or list of AnglePair
            In radians, by angle. The gradient of several outputs is one long vector. Samples with a
            zero gradient are left out.

        Raises
        ------
        ValueError
            If fewer than two samples have a gradient.

        Examples
        --------
        >>> import fastntk
        >>> net = fastntk.MLP([2, 256, 256, 1])
        >>> pair = net.smallest_angle([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9]])
        >>> pair.i, pair.j, 1e-9 < pair.angle < 1e-3
        (0, 2, True)
        """
        count = 1 if k is None else arguments.integer(k, "k", minimum=1)
        request = KernelRequest.checked(self.network, X, None, dtype=np.float64, device=device)
        request = replace(request, X=free_of_scale(self.network, request.X))
        candidates = closest_pairs(request, count + CANDIDATES, progress)
        require_gradients_in_range(request, candidates)
        if not candidates:
            raise ValueError(
                f"X of {request.samples} samples has fewer than two with a gradient that is not "
                "zero: expected at least two"
            )
        samples = request.place.on_host(request.X)
        found = sorted(pair_angles(self.network, samples, candidates))
        return found[0] if k is None else found[:count]

    def pair_angles(self, X: npt.ArrayLike, pairs: Sequence[tuple[int, int]]) -> list[AnglePair]:
        """Return the angles between the gradients at given pairs of samples.

        In float64, from the differences of the samples: to a relative accuracy of about 1e-10,
        however close they are (with a custom activation, to an absolute one of about 1e-16); where
        the gradients differ by less than 1e-292, the angle is 0, and not `resolved`. Small
        angles between samples that are not close, such as x and 3 x, have that absolute accuracy,
        too, and are not `resolved` where nothing is left of them; where a network without biases
        and with an activation such as ReLU makes no difference between x and 2 x, or another power
        of two, all is as if they were of like size.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row; those on a GPU are copied to the host.
        pairs : sequence of (int, int)
            Rows of X.

        Returns
        -------
        list of AnglePair
            In radians, in the order of `pairs`; NaN where a gradient is zero.
        """
        place = place_of(None, {"X": X})
        samples = free_of_scale(self.network, place.on_host(self.network.samples(X, "X", place)))
        pairs = arguments.items(pairs, "pairs", "pairs of rows of X")
        for k, pair in enumerate(pairs):
            if not _is_pair(pair, len(samples)):
                raise ValueError(
                    f"pairs[{k}]={arguments.shown(pair)}: expected two rows of X, from 0 to "
                    f"{len(samples) - 1}"
                )
        return pair_angles(self.network, samples, pairs)

    def ntk_tiles(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None = None,
        *,
        tile: int = 2048,
        outputs: Literal["trace"] | int = "trace",
        layer_weights: npt.ArrayLike | None = None,
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
    ) -> Iterator[KernelTile]:
        """Iterate over blocks of the tangent kernel, for kernels that need not be kept.

        Parameters
        ----------
        X, Z, outputs, layer_weights, dtype, device
            As in `ntk`. X and Z must not change before the last block.
        tile : int
            The number of rows and columns of a block; it need not divide the number of samples.

        Yields
        ------
        KernelTile
            Without Z, the blocks on and below the diagonal: the rest is their mirror image.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net = fastntk.MLP([3, 64, 1])
        >>> sum(t.kernel.size for t in net.ntk_tiles(np.eye(3), tile=2))
        7
        """
        size = arguments.integer(tile, "tile", minimum=1)
        request = KernelRequest.checked(
            self.network.weighted(layer_weights), X, Z, outputs=outputs, dtype=dtype, device=device
        )
        return _tiles(request, BlockLoop.of_size(request, size))

    def plan(self, X: npt.ArrayLike, Z: npt.ArrayLike | None = None) -> Plan:
        """Say what `ntk` would cost for these samples, without computing it.

        Parameters
        ----------
        X, Z
            As in `ntk`.

        Returns
        -------
        Plan
            Operations, bytes, expected seconds, and which way to go.
        """
        # What few programs call.
        from fastntk.kernels.planning import plan

        rows = self.network.samples(X, "X")
        return plan(self.network, rows, None if Z is None else self.network.samples(Z, "Z"))


def _is_pair(pair: Any, n: int) -> bool:
    if not isinstance(pair, (tuple, list, np.ndarray)) or not arguments.has_items(pair):
        return False
    integers = [isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in pair]
    return len(integers) == 2 and all(integers) and all(0 <= i < n for i in pair)


def _tiles(request: KernelRequest, loop: BlockLoop) -> Iterator[KernelTile]:
    for block in loop:
        rows, cols = block.shape
        needed = rows * cols * request.dtype.itemsize
        if not request.place.is_always_there(needed):
            what = f"a tile of {rows} × {cols} in {request.dtype}"
            request.place.require_memory(needed, what, "take a smaller tile")
        values: FloatArray = request.place.empty(block.shape, request.dtype)
        block.fill([values])
        yield KernelTile(block.rows, block.cols, values)
