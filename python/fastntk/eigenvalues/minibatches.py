# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""κ of minibatches: what the authors of arXiv 2305.08813 report in place of κ of all samples.

The kernel of some of the samples is a principal submatrix, whose eigenvalues interlace with those
of the whole: its λ_min is at least, its λ_max at most, and its κ at most that of all samples. κ of
minibatches is cheap, but it is another quantity: it depends on the batch size, and misses every
close pair that the shuffle separates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.display import frame_html, short_repr
from fastntk._support.progress import monitored
from fastntk.eigenvalues import Conditioning, conditioning
from fastntk.symmetric.matrix import SymmetricMatrix
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from fastntk._support.progress import Progress


@dataclass(frozen=True, eq=False)
class BatchConditioning:
    """Conditioning of minibatches, see `batch_conditioning`.

    Attributes
    ----------
    batches : tuple of Conditioning
        The result for each batch.
    samples : tuple of ndarray
        Which samples each batch has, ascending.
    """

    batches: tuple[Conditioning, ...]
    samples: tuple[npt.NDArray[np.intp], ...]

    def __eq__(self, other: object) -> bool:
        """Return whether two results have equal batches, of the same samples."""
        if not isinstance(other, BatchConditioning):
            return NotImplemented
        return self.batches == other.batches and all(
            map(np.array_equal, self.samples, other.samples)
        )

    def __hash__(self) -> int:
        return hash(self.batches)

    @property
    def mean(self) -> float:
        """Mean of κ over the batches; NaN if any of them is not resolved."""
        return float(np.mean([batch.condition_number for batch in self.batches]))

    @property
    def std(self) -> float:
        """Standard deviation of κ over batches; NaN for a single one, or if one is unresolved."""
        if len(self.batches) < 2:
            return float("nan")
        return float(np.std([batch.condition_number for batch in self.batches], ddof=1))

    @property
    def resolved(self) -> int:
        """How many batches have a λ_min above the noise floor."""
        return sum(batch.resolved for batch in self.batches)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each batch: numbers of its `Conditioning`."""
        import pandas as pd

        frame = pd.DataFrame([{"n": batch.n, **batch.numbers} for batch in self.batches])
        unasked = ["condition_number_lower", "condition_number_upper"]
        return frame.drop(columns=unasked).rename_axis("batch")

    def __repr__(self) -> str:
        return short_repr(
            self, batches=len(self.batches), resolved=self.resolved, mean=self.mean, std=self.std
        )

    def _repr_html_(self) -> str:
        return frame_html(repr(self), self.to_frame())

    def __str__(self) -> str:
        sizes = sorted({len(rows) for rows in self.samples})
        return (
            f"κ = {self.mean:.6g} ± {self.std:.2g} over {len(self.batches)} batches of "
            f"{' or '.join(map(str, sizes))} samples, {self.resolved} of them resolved"
        )


def batch_conditioning(
    K: npt.ArrayLike | PackedKernel,
    batch_size: int = 512,
    seed: int = 0,
    *,
    drop_last: bool = True,
    feature_error: float = 0.0,
    kernel_error: float = 0.0,
    progress: Progress = False,
) -> BatchConditioning:
    """Return λ_min, λ_max and κ of the kernels of minibatches, and the mean and spread of κ.

    The samples are shuffled and cut into consecutive batches [1]_. What remains at the end is a
    smaller batch, whose κ would pull the mean down: it is left out.

    Parameters
    ----------
    K : array_like (n, n) or PackedKernel
        A kernel of all samples.
    batch_size : int
        Samples in a batch, from 2 to n. With fewer than 2 · batch_size samples there is one batch.
    seed : int
        The seed of the shuffle.
    drop_last : bool
        Whether to leave out the last batch if it is smaller than the others.
    feature_error, kernel_error : float
        As for `fastntk.conditioning`, of the features of every sample by itself, and of all of K:
        those of `MLP.ntk_errors` are. What holds for K holds for the kernels of batches.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each batch.

    Returns
    -------
    BatchConditioning

    Raises
    ------
    ValueError
        As `fastntk.conditioning`.

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Figure 3, by the authors' code: batches
       of 512.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 20))
    >>> K = fastntk.MLP([20, 512, 512, 1]).ntk(X)
    >>> batches = fastntk.batch_conditioning(K, batch_size=100)
    >>> len(batches.batches), batches.resolved
    (3, 3)
    >>> batches.mean < fastntk.conditioning(K).condition_number
    True
    """
    kernel = K if isinstance(K, PackedKernel) else SymmetricMatrix.of(K, "K")
    batch_size = arguments.integer(batch_size, "batch_size", minimum=2)
    seed = arguments.seed(seed)
    drop_last = arguments.flag(drop_last, "drop_last")
    if batch_size > kernel.n:
        raise ValueError(
            f"batch_size={batch_size}: expected at most {kernel.n}, the number of samples of K"
        )
    samples = _cut(kernel.n, batch_size, seed, drop_last)
    batches: list[Conditioning] = []
    with monitored(progress, "batches") as monitor:
        for rows in samples:
            part = SymmetricMatrix.made(kernel.submatrix(rows), epsilon=kernel.epsilon)
            batches.append(
                conditioning(
                    part, bounds=False, feature_error=feature_error, kernel_error=kernel_error
                )
            )
            if monitor is not None:
                monitor("κ", len(batches), len(samples))
    return BatchConditioning(tuple(batches), samples)


def _cut(n: int, batch_size: int, seed: int, drop_last: bool) -> tuple[npt.NDArray[np.intp], ...]:
    """Shuffle n samples and return those of each batch, ascending."""
    # Philox, as for the weights: the same shuffle on every platform.
    shuffled = np.random.Generator(np.random.Philox(seed)).permutation(n)
    # Ascending within a batch: the eigenvalues do not depend on the order, reading memory does.
    batches = [np.sort(shuffled[first : first + batch_size]) for first in range(0, n, batch_size)]
    if drop_last and len(batches) > 1 and len(batches[-1]) < batch_size:
        del batches[-1]
    return tuple(batches)
