# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Eigenvalues of kernels: the extreme ones with certain bounds, or all of them.

What `conditioning` does with a kernel K goes through these files, from top to bottom:

============== ====================================================================
extremes       `conditioning`: chooses a method, tells the result from the noise
sources        finds out what K is
host_sources   K in memory or in a file: products, and where its factors go
gpu_source     K in the memory of a GPU
few_rows       small matrices in memory, by one call of the core
source         what is asked of all of these
measures       norm, trace and what follows for errors
ends           both ends of the spectrum, in three ways
enclosures     intervals that contain λ_min and λ_max whatever rounding did
noise          what rounding, and errors of the kernel, hide of λ_min
result         what is known in the end
============== ====================================================================

What rounding does to products and decompositions is in `fastntk._support.rounding`; what it did to
the kernel, `MLP.ntk_errors` proves. Besides, `full_spectrum` has all eigenvalues, `minibatches` κ
of parts of the samples.
"""

from fastntk.eigenvalues.extremes import conditioning
from fastntk.eigenvalues.full_spectrum import spectrum
from fastntk.eigenvalues.result import Bounds, Conditioning, Interval, kappa_at_least

__all__ = ["Bounds", "Conditioning", "Interval", "conditioning", "kappa_at_least", "spectrum"]
