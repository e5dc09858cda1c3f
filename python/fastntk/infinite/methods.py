# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What can be asked of networks of infinite width, however they are described."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from fastntk._support import arguments
from fastntk.devices import matrices
from fastntk.eigenvalues import conditioning
from fastntk.infinite.angles import angles_after_layers
from fastntk.infinite.closest_gradients import closest_gradients
from fastntk.infinite.kernel_errors import kernel_error
from fastntk.infinite.kernel_matrices import (
    kernel_matrices,
    new_kernels,
    require_tangent_kernel_of,
)
from fastntk.infinite.kernel_outputs import kernel_tiles, kernel_to
from fastntk.infinite.regression import Regression
from fastntk.infinite.request import KernelRequest
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.several_depths import SeveralDepths
from fastntk.symmetric.conjugate_gradients import Iterations
from fastntk.symmetric.matrix import SymmetricMatrix
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.eigenvalues import Conditioning
    from fastntk.infinite.angles import Angles
    from fastntk.infinite.kernel_matrices import Kernels
    from fastntk.infinite.regression import Prediction
    from fastntk.kernels.angles import AnglePair
    from fastntk.kernels.methods import KernelTile
    from fastntk.linearity.operators import KernelOperator


class LimitMethods(SeveralDepths):
    """The methods of networks of infinite width."""

    @overload
    def ntk(  # type: ignore[overload-overlap]
        self,
        X: ArrayLike,
        Z: None = None,
        *,
        normalize: bool = False,
        dtype: DTypeLike | None = None,
        out: Literal["packed"],
        overwrite: bool = False,
        progress: Progress = False,
    ) -> PackedKernel: ...

    @overload
    def ntk(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        normalize: bool = False,
        dtype: DTypeLike | None = None,
        out: FloatArray | str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> FloatArray: ...

    def ntk(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        normalize: bool = False,
        dtype: DTypeLike | None = None,
        out: FloatArray | str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> FloatArray | PackedKernel:
        """Return the neural tangent kernel.

        Parameters
        ----------
        X, Z : array_like (n, d), (m, d)
            Samples, one a row. Without Z the symmetric kernel of X with itself.
        normalize : bool
            Whether to return K_ij/√(K_ii K_jj), the cosines of the angles between gradients.
        dtype : {"float32", "float64"}, optional
            Precision of the result, by default that of the samples. All kernels are computed in
            float64, and those in float32 rounded once.
        out : ndarray (n, m), path or "packed", optional
            Where the kernel of a single depth is to go, as for `fastntk.MLP.ntk`: into an array,
            such as a ``numpy.memmap``, or into a ``.npy`` file of this name, which is returned as a
            memory map; kernels may be larger than memory. "packed": return a
            `fastntk.PackedKernel`, in half the memory; without Z.
        overwrite : bool
            Whether a file that is at the path `out` may be lost. Otherwise that is an error before
            any work.
        progress : bool or callable
            Whether to show a progress bar; or a function of (stage, done, total).

        Returns
        -------
        ndarray (n, m), or (depths, n, m) for a sequence of depths; or PackedKernel
            The same, bit for bit, for any number of threads and wherever it goes. Rows of zeros are
            allowed: without biases and shifts, and if φ(0) = 0, their kernel is 0. With a trained
            shift before an activation with a kink at 0, it has the mean square of both slopes
            there, as small samples have; a network of finite width has φ'(0) = 0 at the very kink.

        Raises
        ------
        ValueError, TypeError
            For arguments that make no sense, or if the activation has no tangent kernel.
        OverflowError
            If the kernel would leave the range of floating-point numbers.
        FileExistsError
            If there is a file at the path `out` already.
        MemoryError
            If the result does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> infinite.Network(depth=range(4)).ntk(np.eye(2)).shape
        (4, 2, 2)
        >>> infinite.Network(depth=1).ntk(np.eye(2), out="packed")
        PackedKernel(n=2, dtype=float64)
        """
        request = KernelRequest.checked(self, ("ntk",), X, Z, dtype=dtype, normalize=normalize)
        return _kernel(request, out, overwrite, progress)

    @overload
    def nngp(  # type: ignore[overload-overlap]
        self,
        X: ArrayLike,
        Z: None = None,
        *,
        normalize: bool = False,
        dtype: DTypeLike | None = None,
        out: Literal["packed"],
        overwrite: bool = False,
        progress: Progress = False,
    ) -> PackedKernel: ...

    @overload
    def nngp(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        normalize: bool = False,
        dtype: DTypeLike | None = None,
        out: FloatArray | str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> FloatArray: ...

    def nngp(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        normalize: bool = False,
        dtype: DTypeLike | None = None,
        out: FloatArray | str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> FloatArray | PackedKernel:
        """Return the covariance of the outputs at initialization.

        Outputs are then a Gaussian process with this kernel [1]_.

        Parameters
        ----------
        X, Z, normalize, dtype, out, overwrite, progress
            As for `ntk`.

        Returns
        -------
        ndarray (n, m), or (depths, n, m) for a sequence of depths; or PackedKernel

        References
        ----------
        .. [1] J. Lee et al., "Deep neural networks as Gaussian processes", ICLR 2018.

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> infinite.Network(depth=1).nngp(np.eye(2)).round(6)
        array([[0.5     , 0.159155],
               [0.159155, 0.5     ]])
        """
        request = KernelRequest.checked(self, ("nngp",), X, Z, dtype=dtype, normalize=normalize)
        return _kernel(request, out, overwrite, progress)

    def kernels(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        normalize: bool = False,
        progress: Progress = False,
    ) -> Kernels:
        """Return `nngp` and `ntk` from one pass.

        Parameters
        ----------
        X, Z, normalize, progress
            As for `ntk`.

        Returns
        -------
        Kernels
            With the arrays `nngp` and `ntk`.
        """
        return kernel_matrices(self, X, Z, normalize=normalize, progress=progress)

    def ntk_tiles(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        tile: int = 2048,
        normalize: bool = False,
        dtype: DTypeLike | None = None,
    ) -> Iterator[KernelTile]:
        """Iterate over blocks of the tangent kernel, for kernels that need not be kept.

        Parameters
        ----------
        X, Z, normalize, dtype
            As for `ntk`, of a single depth. X and Z must not change before the last block.
        tile : int
            The number of rows and columns of a block; it need not divide the number of samples.
            Blocks are made of the library's own tiles, of up to 128 rows and 1024 or 2048 columns:
            those with fewer rows take as long as such tiles.

        Yields
        ------
        KernelTile
            Named tuples of the slices `rows` and `cols`, and of `kernel` with the bits that `ntk`
            has there. Without Z, the blocks on and below the diagonal, column by column: the rest
            is their mirror image.

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> tiles = infinite.Network(depth=2).ntk_tiles(np.eye(3), tile=2)
        >>> sum(t.kernel.size for t in tiles)
        7
        """
        size = arguments.integer(tile, "tile", minimum=1)
        request = KernelRequest.checked(self, ("ntk",), X, Z, dtype=dtype, normalize=normalize)
        return kernel_tiles(request, size)

    def ntk_operator(
        self, X: ArrayLike, *, normalize: bool = False, dtype: DTypeLike | None = None
    ) -> KernelOperator:
        """Return the tangent kernel as an operator, which multiplies without being formed.

        Each product computes the kernel anew, tile by tile, each of which serves for its mirror
        image too: it takes as long as `ntk` does. So products with several vectors at once cost
        little more. Memory is that of the samples, of which a copy is kept, of the vectors, and of
        what each sample brings into the recursion: 80 to 240 bytes at each layer (of networks that
        are described by layers, at each step), or about 40 bytes in all for an `infinite.Network`
        of piecewise linear activations without biases, which multiplies all samples alike.

        Parameters
        ----------
        X, normalize
            As for `ntk`, of a single depth.
        dtype : {"float32", "float64"}, optional
            Precision of the elements and the products, by default that of the samples.

        Returns
        -------
        KernelOperator (n, n)
            A ``scipy.sparse.linalg.LinearOperator``, symmetric; for
            ``scipy.sparse.linalg.eigsh``, ``cg``, ``lobpcg``, …. For preconditioners it has the
            methods ``diagonal()``, and ``columns(indices)``, which returns an array
            (n, len(indices)). The same, bit for bit, for any number of threads.

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> net, X = infinite.Network(depth=2), np.eye(3)
        >>> operator = net.ntk_operator(X)
        >>> bool(np.allclose(operator @ np.ones(3), net.ntk(X) @ np.ones(3)))
        True
        >>> operator.columns([0, 2]).shape
        (3, 2)
        """
        # SciPy's operators take a while to import, and are not always needed.
        from fastntk.infinite.kernel_operator import TileProducts
        from fastntk.linearity.operators import KernelOperator

        request = KernelRequest.checked(self, ("ntk",), X, dtype=dtype, normalize=normalize)
        return KernelOperator(TileProducts(request.with_samples_of_its_own()))

    @overload
    def smallest_angle(
        self, X: ArrayLike, k: None = None, *, progress: Progress = False
    ) -> AnglePair: ...

    @overload
    def smallest_angle(
        self, X: ArrayLike, k: int, *, progress: Progress = False
    ) -> list[AnglePair]: ...

    def smallest_angle(
        self, X: ArrayLike, k: int | None = None, *, progress: Progress = False
    ) -> AnglePair | list[AnglePair]:
        """Return the smallest angle between the gradients of two samples, or the k smallest.

        No kernel is formed; small angles keep their digits. Memory is that of the samples and of
        what they bring into the recursion, as for `ntk_operator`.

        Parameters
        ----------
        X : array_like (n, d)
            At least two samples, one a row.
        k : int, optional
            How many pairs.
        progress : bool or callable
            As for `ntk`.

        Returns
        -------
        AnglePair, or list of AnglePair
            By angle, the first pairs of those at the same angle, as far as rounding tells. A pair
            is resolved where a running error says that the angle is right to a relative 1e-3: for
            chains with piecewise linear activations always, with biases as well, where it has
            nearly all digits; through sums and normalizations as a rule, but not for samples that
            are as good as multiples of each other; for other activations as far as the errors of
            their duals allow, which chaotic networks widen from layer to layer, and by an estimate
            of what errors in the sizes of the samples do. In networks of a few layers these are
            angles from about 1e-5 on for an error of 1e-14, and from about 1e-3 on for Hermite
            series, whose error is 1e-10.

        Raises
        ------
        ValueError
            If a sample has a kernel of 0, as a row of zeros has without biases: the angle to a zero
            gradient is not defined.

        Examples
        --------
        >>> from fastntk import infinite
        >>> X = [[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9]]
        >>> pair = infinite.Network(depth=2).smallest_angle(X)
        >>> pair.i, pair.j, round(pair.angle, 9)
        (0, 2, 2.5231e-05)
        >>> [(pair.i, pair.j) for pair in infinite.Network(depth=2).smallest_angle(X, k=2)]
        [(0, 2), (1, 2)]
        """
        count = 1 if k is None else arguments.integer(k, "k", minimum=1)
        found = closest_gradients(self, X, count, progress)
        return found[0] if k is None else found

    def conditioning(
        self, X: ArrayLike, *, normalize: bool = False, progress: Progress = False
    ) -> Conditioning:
        """Return λ_min, λ_max and κ of the tangent kernel, which is formed in float64.

        The errors of its elements, from the `tolerance` of duals without a closed form and from
        rounding, count as noise and widen the bounds: see ``kernel_error`` of
        `fastntk.conditioning`.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        normalize, progress
            As for `ntk`.

        Returns
        -------
        Conditioning

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> X = np.random.default_rng(0).standard_normal((100, 20))
        >>> round(infinite.Network(depth=3).conditioning(X).condition_number, 1)
        139.3
        """
        self.require_one_depth()
        samples = matrices.samples(X, "X", np.dtype(np.float64))
        kernel = SymmetricMatrix.made(self.ntk(samples, normalize=normalize, progress=progress))
        error = self.kernel_error(samples, kernel)
        try:
            return conditioning(kernel, kernel_error=error)
        except ValueError as problem:  # the kernel is formed, but far from the size of 1
            raise ValueError(
                f"X, with this weight_std, bias_std and these scales of activations: {problem}"
            ) from None

    def kernel_error(self, X: ArrayLike, kernel: ArrayLike | PackedKernel) -> float:
        """Return by how much a tangent kernel may be off, in the norm of the difference.

        For every activation, in chaotic networks as well, whose layers widen errors. It is proved
        for piecewise linear activations. For others it rests on the errors that their duals are
        made for, and one part is an estimate: what errors in the sizes of samples do, from
        difference quotients with a margin. What `conditioning` says is as certain as that.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        kernel : array_like (n, n) or PackedKernel
            `ntk` of them, wherever it lies, normalized or not. One in float32 is off by its own
            rounding, too.

        Returns
        -------
        float
            The ``kernel_error`` of `fastntk.conditioning`; infinite where a size of a sample may be
            off by a quarter of itself.

        Raises
        ------
        ValueError
            If `kernel` cannot be that kernel, by its shape or by its diagonal, which is compared up
            to a thousandth: nothing else is, and samples of the same norms have the same one.

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> X = np.random.default_rng(0).standard_normal((100, 20))
        >>> net = infinite.Network(depth=3, activation="erf")
        >>> net.kernel_error(X, net.ntk(X)) < 1e-8
        True
        """
        self.require_one_depth()
        samples = matrices.samples(X, "X", np.dtype(np.float64))
        K: PackedKernel | SymmetricMatrix
        if isinstance(kernel, PackedKernel):
            K, diagonal = kernel, kernel.diagonal()
        else:
            K = SymmetricMatrix.of(kernel, "kernel")
            diagonal = np.diagonal(K.array)
        if K.n != len(samples):
            raise ValueError(
                f"kernel has shape {K.shape}: expected that of X with itself, for {len(samples)} "
                "samples"
            )
        require_tangent_kernel_of(self, samples, diagonal, "kernel")
        # Elements that are off by e √(K_ii K_jj) at most make a matrix of norm e tr K at most.
        trace = float(diagonal.astype(np.float64).sum())
        error = kernel_error(self, Samples.of(samples).norms) * trace
        if K.epsilon > np.finfo(np.float64).eps:
            # Rounded once, to normal numbers or to others, of which n² have half the least one.
            least = float(np.finfo(np.float32).smallest_subnormal)
            error += K.epsilon / 2 * (1 + K.epsilon) * trace + least / 2 * K.n
        return error

    @overload
    def embedding_angle(
        self, theta: ArrayLike, *, bounds: Literal[False] = False
    ) -> NDArray[np.float64]: ...

    @overload
    def embedding_angle(
        self, theta: ArrayLike, *, bounds: bool
    ) -> NDArray[np.float64] | Angles: ...

    def embedding_angle(
        self, theta: ArrayLike, *, bounds: bool = False
    ) -> NDArray[np.float64] | Angles:
        """Return the angle of two samples after all layers: arccos of the normalized `nngp`.

        Parameters
        ----------
        theta : array_like
            Angles of samples of norm √d, in [0, π].
        bounds : bool
            Whether to return two more arrays.

        Returns
        -------
        ndarray, of the shape of theta; for a sequence of depths, with a first axis for these
            Or, with `bounds`, a named tuple of three of them: ``angle``, and ``lower`` and
            ``upper``, between which a running error of rounding and of the duals puts the
            angles. (One part of it is an estimate, with a margin, where activations are not
            piecewise linear.) Its ``resolved`` says where that is a relative 1e-3 at most.

        Warns
        -----
        RuntimeWarning
            If an angle is not resolved, and no bounds are asked for.

        Examples
        --------
        >>> from fastntk import infinite
        >>> infinite.Network(depth=[0, 1, 10]).embedding_angle(1.0).round(4)
        array([1.    , 0.8813, 0.4487])
        """
        bounds = arguments.flag(bounds, "bounds")
        found = angles_after_layers(self, theta, gradient=False, bounds=bounds)
        return found if bounds else found.angle

    @overload
    def gradient_angle(
        self, theta: ArrayLike, *, bounds: Literal[False] = False
    ) -> NDArray[np.float64]: ...

    @overload
    def gradient_angle(self, theta: ArrayLike, *, bounds: Literal[True]) -> Angles: ...

    def gradient_angle(
        self, theta: ArrayLike, *, bounds: bool = False
    ) -> NDArray[np.float64] | Angles:
        """Return the angle between the gradients of the output at two samples.

        Parameters
        ----------
        theta : array_like
            Angles of samples of norm √d, in [0, π].
        bounds : bool
            As for `embedding_angle`.

        Returns
        -------
        ndarray, of the shape of theta; for a sequence of depths, with a first axis for these
            See `embedding_angle`, also for the warning.

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> net = infinite.Network(depth=[1, 3, 6])
        >>> np.degrees(net.gradient_angle(0.05)).round(5)
        array([ 7.7741 , 12.74962, 17.60961])
        """
        bounds = arguments.flag(bounds, "bounds")
        found = angles_after_layers(self, theta, gradient=True, bounds=bounds)
        return found if bounds else found.angle

    def regression(
        self,
        X: ArrayLike,
        *,
        kernel: str = "ntk",
        ridge: float | str = 0.0,
        solution: str = "unique",
        solver: str = "cholesky",
        preconditioner_rank: int = 256,
        max_iterations: int = 1000,
        solver_tolerance: float = 1e-8,
    ) -> Regression:
        """Return the regression on training samples, for any targets, samples and times.

        Parameters
        ----------
        X : array_like (n, d)
            Training samples, one a row.
        kernel : {"ntk", "nngp"}
            "ntk": all layers are trained. "nngp": only the last one is, which is Bayesian inference
            with the network as the prior.
        ridge : float or "auto"
            Weight decay, or the variance of the noise of the targets; see `Regression`.
        solution : {"unique", "least_squares"}
            What the end of training is for a singular kernel; see `Regression`.
        solver : {"cholesky", "cg", "auto"}
            With the kernel, or without it, for very many samples; see `Regression`.
        preconditioner_rank, max_iterations, solver_tolerance
            For "cg"; see `Regression`.

        Returns
        -------
        Regression

        Examples
        --------
        >>> import numpy as np
        >>> from fastntk import infinite
        >>> X = np.random.default_rng(0).standard_normal((50, 3))
        >>> regression = infinite.Network(depth=2).regression(X)
        >>> bool(np.allclose(regression.predict(X, X[:, 0]).mean, X[:, 0]))
        True
        """
        iterations = Iterations.checked(
            preconditioner_rank, solver_tolerance, max_iterations, name="solver_tolerance"
        )
        return Regression.of_network(self, X, (kernel, ridge, solution, solver), iterations)

    def predict(
        self,
        X: ArrayLike,
        y: ArrayLike,
        Z: ArrayLike,
        *,
        kernel: str = "ntk",
        ridge: float | str = 0.0,
        solution: str = "unique",
        solver: str = "cholesky",
        preconditioner_rank: int = 256,
        max_iterations: int = 1000,
        solver_tolerance: float = 1e-8,
        time: ArrayLike = math.inf,
        steps: ArrayLike | None = None,
        learning_rate: float | None = None,
        covariance: bool = False,
    ) -> Prediction:
        """Return what the network predicts at Z after training on X and y.

        For several targets, samples or times, keep a `regression`.

        Parameters
        ----------
        X, y : array_like (n, d), (n,) or (n, C)
            Training samples and their targets; integers are numbers, class labels too, see
            `Regression.predict`.
        Z : array_like (m, d)
            Samples, one a row.
        kernel, ridge, solution, solver, preconditioner_rank, max_iterations, solver_tolerance
            As for `regression`.
        time, steps, learning_rate, covariance
            As for `Regression.predict`.

        Returns
        -------
        Prediction
            With the arrays `mean` and `covariance`.
        """
        regression = self.regression(
            X,
            kernel=kernel,
            ridge=ridge,
            solution=solution,
            solver=solver,
            preconditioner_rank=preconditioner_rank,
            max_iterations=max_iterations,
            solver_tolerance=solver_tolerance,
        )
        return regression.predict(
            Z, y, time=time, steps=steps, learning_rate=learning_rate, covariance=covariance
        )


def _kernel(
    request: KernelRequest,
    out: FloatArray | str | os.PathLike[str] | None,
    overwrite: bool,
    progress: Progress,
) -> FloatArray | PackedKernel:
    overwrite = arguments.flag(overwrite, "overwrite")
    if out is None:
        return new_kernels(request, progress)[0]
    return kernel_to(request, out, progress, overwrite=overwrite)
