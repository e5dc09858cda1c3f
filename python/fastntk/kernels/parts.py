# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A part of kernels by itself, whose other parts are computed elsewhere or at another time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk.kernels.ranges import KernelRanges

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk.kernels.features import Features
    from fastntk.kernels.request import KernelRequest


def kernel_part(request: KernelRequest, features: tuple[Features, Features] | None) -> FloatArray:
    """Return the kernels (k, n, m) of a request for some of the samples, on the host.

    An element is the same to the last bit in whichever part it is computed.

    Parameters
    ----------
    request : KernelRequest
        On the processor.
    features : (Features, Features) or None
        Those of the rows and of the columns, for a request of a single kernel.

    Raises
    ------
    OverflowError
        If an element, or one of the diagonal where rows and columns are the same samples, is not
        finite.
    """
    kernels: FloatArray = np.empty((request.count, *request.shape), request.dtype)
    rows, cols = (slice(0, count) for count in request.shape)
    if features is not None:
        x, z = features
        x.fill_kernel(z, rows, cols, kernels[0], None)
    else:
        outputs = request.outputs.start, len(request.outputs)
        request.place.fill(
            list(kernels),
            lambda outs, where: request.place.core.ntk(
                request.network.handle,
                outputs,
                request.split,
                request.X,
                request.Z,
                outs,
                where,
                None,
            ),
        )
    KernelRanges(request, part=True).look_at(rows, cols, list(kernels))
    return kernels
