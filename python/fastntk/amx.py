# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The AMX units of Intel processors, which multiply matrices of float32 where there are any.

Each core of a server processor from Sapphire Rapids (2023) on has a unit that multiplies matrices
of bfloat16 and adds up in float32. fastntk cuts every float32 into three bfloat16, without a loss,
and has the unit multiply the parts. Of the nine products of the parts of two elements, six are
added up; the others make up at most 2⁻²³ of the whole, the spacing of float32 [1]_. The results are
as accurate as those of a BLAS, or more so, and take about half the time. They are the same to the
last bit for any number of threads.

They differ from a BLAS in two ways. What is infinite becomes NaN. And bits of elements that are
worth less than 2⁻¹²⁶ ≈ 1e-38 are taken for 0, so that elements below 1e-31 have fewer digits.

Matrices of float64, and products with fewer than 24 rows or columns or fewer than 32 terms, are
left to the BLAS.

References
----------
.. [1] G. Henry, P. T. P. Tang, A. Heinecke, "Leveraging the bfloat16 artificial intelligence
       datatype for higher-precision computations", IEEE Symposium on Computer Arithmetic, 2019.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import fastntk._core as _core

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["disabled", "is_available", "why_not"]


def is_available() -> bool:
    """Return whether the processor has AMX units that this process may use.

    Examples
    --------
    >>> from fastntk import amx
    >>> amx.is_available() == (amx.why_not() is None)
    True
    """
    return why_not() is None


def why_not() -> str | None:
    """Return why AMX is not used here, or None if it is.

    Examples
    --------
    >>> from fastntk import amx
    >>> reason = amx.why_not()
    >>> reason is None or "AMX" in reason or "built" in reason
    True
    """
    return _core.amx_why_not()


class _Disabled:
    """Counts who wants the BLAS to multiply."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            _core.use_amx(False)

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            _core.use_amx(self._inside == 0)


_disabled = _Disabled()


@contextmanager
def disabled() -> Iterator[None]:
    """Leave matrices of float32 to the BLAS within a `with` statement, in the whole process.

    To compare both, or to get what a processor without AMX would compute. It concerns computations
    that start there. Where there is no AMX nothing changes.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> net = fastntk.MLP([64, 128, 1], dtype="float32")
    >>> X = np.random.default_rng(0).standard_normal((100, 64), dtype="float32")
    >>> with fastntk.amx.disabled():
    ...     K = net.ntk(X)
    >>> bool(np.allclose(K, net.ntk(X), rtol=1e-4, atol=1e-3))
    True
    """
    _disabled.enter()
    try:
        yield
    finally:
        _disabled.leave()
