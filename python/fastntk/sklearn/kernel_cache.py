# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that are kept between the fits of a search."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from fastntk._support import arguments
from fastntk._support.digests import sha256

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastntk.sklearn.kernel_sources import KernelSource

    Array = NDArray[np.float64]

_LIMIT = 2**28


@dataclass(frozen=True, eq=False)
class _Kept:
    """A kernel, and what it is of: the source, "nngp" or "ntk", the digest of the samples."""

    source: KernelSource
    kind: str
    samples: str
    kernel: Array


class KernelCache:
    """The kernels that `NTKRegressor` and `NTKClassifier` used last, up to so many bytes.

    `kernel_cache` is the one that they use, one in each process. A search over ridges, as
    `GridSearchCV` makes, finds in it the kernels of each split of the samples, and computes each of
    them once. What is found is what would be computed, to the last bit: kernels are known by
    everything that the network is made of, and by the SHA-256 of the samples.

    Where the kernels of all splits do not fit together, 8 n² bytes for n training samples and 8 m n
    for m others, those that were used last drive out those that are needed next: set `limit`.
    Processes of ``n_jobs`` compute kernels of their own. `clear` gives the memory back.

    Parameters
    ----------
    limit : int
        The most bytes that are kept; by default 256 MiB. 0 keeps nothing.

    Attributes
    ----------
    limit : int
        The same; a lower one drops kernels at once.
    nbytes : int
        How many bytes are kept.
    hits, misses : int
        How many kernels were found, and how many computed.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.sklearn import NTKRegressor, kernel_cache
    >>> from sklearn.model_selection import GridSearchCV
    >>> X = np.random.default_rng(0).standard_normal((30, 3))
    >>> kernel_cache.clear()
    >>> search = GridSearchCV(NTKRegressor(depth=1), {"ridge": [1e-3, 1e-2, 0.1]}, cv=5)
    >>> search.fit(X, X[:, 0]).best_params_
    {'ridge': 0.001}
    >>> kernel_cache.misses, kernel_cache.hits  # 5 splits, and all samples in the end
    (11, 20)
    >>> kernel_cache.clear()
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._lock = Lock()
        self._kept: list[_Kept] = []  # those used last come last
        self._limit = arguments.integer(limit, "limit", minimum=0)
        self.hits = self.misses = 0

    def __repr__(self) -> str:
        """Return what is kept, in numbers."""
        return (
            f"<KernelCache: {len(self._kept)} kernels, {self.nbytes} of {self.limit} bytes, "
            f"{self.hits} hits, {self.misses} misses>"
        )

    @property
    def limit(self) -> int:
        """The most bytes that are kept."""
        return self._limit

    @limit.setter
    def limit(self, value: int) -> None:
        with self._lock:
            self._limit = arguments.integer(value, "limit", minimum=0)
            self._drop_first()

    @property
    def nbytes(self) -> int:
        """How many bytes are kept."""
        return sum(each.kernel.nbytes for each in list(self._kept))

    def clear(self) -> None:
        """Forget all kernels, and begin to count again."""
        with self._lock:
            self._kept.clear()
            self.hits = self.misses = 0

    def matrices(
        self, source: KernelSource, kinds: tuple[str, ...], X: Array, Z: Array | None = None
    ) -> dict[str, Array]:
        """Return kernels that are kept, or else computed and kept; estimators call it.

        Two threads that ask for the same one at the same time may both compute it.

        Parameters
        ----------
        source : KernelSource
            Where they come from.
        kinds : tuple of str
            "nngp", "ntk", or both.
        X, Z : ndarray (n, d), (m, d)
            Samples in float64, in C order. A Z that is equal to X is taken for X itself.

        Returns
        -------
        dict of ndarray (n, m)
            By their kinds, not to be written to.
        """
        digest = _digest(X)
        if Z is not None:
            other = _digest(Z)
            Z = None if other == digest else Z
            digest = digest if Z is None else f"{digest} {other}"
        found = {}
        with self._lock:
            for kind in kinds:
                for place, each in enumerate(self._kept):
                    if (each.kind, each.samples) == (kind, digest) and each.source == source:
                        found[kind] = each.kernel
                        self._kept.append(self._kept.pop(place))
                        break
            self.hits += len(found)
        missing = tuple(kind for kind in kinds if kind not in found)
        if not missing:
            return found
        computed = source.matrices(missing, X, Z)
        with self._lock:
            self.misses += len(missing)
            for kind, kernel in computed.items():
                kernel.flags.writeable = False
                if kernel.nbytes <= self._limit:  # a larger one would only drive out the others
                    self._kept.append(_Kept(source, kind, digest, kernel))
            self._drop_first()
        return found | computed

    def _drop_first(self) -> None:
        while self._kept and self.nbytes > self._limit:
            del self._kept[0]


def _digest(X: Array) -> str:
    return sha256(f"{X.shape}", X)


kernel_cache = KernelCache()
