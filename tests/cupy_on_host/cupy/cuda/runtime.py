# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""`cupy.cuda.runtime`: names of CUDA's runtime."""

streamLegacy = 1  # noqa: N816
streamPerThread = 2  # noqa: N816

# Streams that were waited for, in order; a test may clear it.
synchronized: list[int] = []


def streamSynchronize(stream: int) -> None:  # noqa: N802
    """Wait for the work of a stream, given by its handle."""
    synchronized.append(stream)
