# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The conditioning of one kernel as large as memory, in steps that a restart does not repeat.

The kernel is packed, written to a file, and factored in a copy in memory: what is needed at once
is half of an n × n array, 14.4 GB for 60 000 samples.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from fastntk._support import arguments
from fastntk._support.files import make_folder
from fastntk._support.memory import require_memory
from fastntk._support.progress import require_progress
from fastntk.devices import matrices
from fastntk.eigenvalues import conditioning, kappa_at_least
from fastntk.eigenvalues.result import ConditionNumbers
from fastntk.kernels.angles import AnglePair
from fastntk.networks.base import require_network
from fastntk.studies.identities import array_digest
from fastntk.studies.runner import Runner, Task, in_threads
from fastntk.studies.store import StudyStore, key_of
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.mlp import MLP
    from fastntk.studies.store import Values

# Part of every key in a store: to be raised with each change of the numbers below.
_ALGORITHM = 2


@dataclass(frozen=True, kw_only=True)
class KernelReport(ConditionNumbers):
    """What `kernel_report` found.

    Attributes
    ----------
    n : int
        The number of samples.
    closest_pair : AnglePair
        The smallest angle between gradients, in radians.
    eigenvalue_min, eigenvalue_max, condition_number, resolved, noise_floor, rank, effective_rank
        As in `fastntk.Conditioning`.
    condition_number_lower, condition_number_upper : float
        Between which κ is certain to lie; NaN where no bounds were asked for.
    seconds : dict of str to float
        How long each step took, in whichever run it was made.
    """

    n: int
    closest_pair: AnglePair
    seconds: dict[str, float]

    def __str__(self) -> str:
        i, j = self.closest_pair.i, self.closest_pair.j
        lines = [
            f"{self.n} samples",
            f"smallest angle  {math.degrees(self.closest_pair.angle):.6g}°, samples {i} and {j}",
            f"λ_max           {self.eigenvalue_max:.8g}",
        ]
        if self.resolved:
            lines.append(f"λ_min           {self.eigenvalue_min:.8g}")
            lines.append(f"κ               {self.condition_number:.8g}")
        else:
            lines.append(f"λ_min           unresolved, below {self.noise_floor:.2g}")
            lines.append(f"κ               {kappa_at_least(self.eigenvalue_max, self.noise_floor)}")
        if not math.isnan(self.condition_number_lower):
            lower, upper = self.condition_number_lower, self.condition_number_upper
            lines.append(f"κ is certainly  in [{lower:.8g}, {upper:.8g}]")
        lines.append(f"noise floor     {self.noise_floor:.2g}")
        lines.append(f"effective rank  {self.effective_rank:.4g}")
        lines += [f"{stage:<14}  {spent:.1f} s" for stage, spent in self.seconds.items()]
        return "\n".join(lines)


def kernel_report(
    net: MLP,
    X: npt.ArrayLike,
    directory: str | os.PathLike[str],
    *,
    bounds: bool = False,
    keep_kernel: bool = False,
    progress: Progress = True,
) -> KernelReport:
    """Return smallest angle, λ_min, λ_max and κ of the tangent kernel of very many samples.

    Three steps, each of which is kept in `directory` when it is done, so that a run that was
    stopped goes on there: the closest pair, the kernel (in a file, packed, in float64), and its
    eigenvalues. The largest thing in memory is the packed kernel, 4 n² bytes. Its file has
    checksums and says of which network and samples it is: a damaged or foreign one is not used, but
    computed again, with a warning.

    Parameters
    ----------
    net : MLP
        With several outputs, the kernel is summed over them.
    X : array_like (n, d)
        Samples, one a row; at least two.
    directory : path-like
        For the results and, meanwhile, the kernel: 4 n² bytes on disk. Reports of several networks
        and samples may share it.
    bounds : bool
        Also enclose κ in an interval that holds despite all rounding, that of the kernel included
        (see `MLP.ntk_errors`); a second Cholesky decomposition.
    keep_kernel : bool
        Leave the file ``kernel-….npy`` there, for `PackedKernel.load`.
    progress : bool or callable
        Show bars, or call ``progress(stage, done, total)`` about ten times a second.

    Returns
    -------
    KernelReport

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense, or a damaged store of results.
    MemoryError
        If the packed kernel does not fit in the memory that is available.
    OSError
        If a file cannot be written; what was finished before stays there.

    Examples
    --------
    >>> import tempfile
    >>> import fastntk
    >>> X = fastntk.datasets.load("digits").X[:300]
    >>> net = fastntk.MLP([64, 256, 256, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = fastntk.kernel_report(net, X, folder, bounds=True, progress=False)
    >>> report.condition_number_lower < report.condition_number < report.condition_number_upper
    True
    """
    require_network(net)
    bounds = arguments.flag(bounds, "bounds")
    keep_kernel = arguments.flag(keep_kernel, "keep_kernel")
    samples = matrices.samples(X, "X", net.dtype, columns=net.widths[0])
    if len(samples) < 2:
        raise ValueError(f"X has shape {samples.shape}: expected at least two samples")
    folder = Path(arguments.path(directory, "directory"))
    require_progress(progress)
    settings: Values = {
        "samples": array_digest(samples),
        "network": net.digest(),
        "algorithm": _ALGORITHM,
        "fastntk": version("fastntk"),
    }
    file = folder / f"kernel-{key_of(settings)[:16]}.npy"
    steps = [
        Task(
            "closest pair",
            settings | {"step": "closest pair"},
            lambda _: _closest_pair(net, samples, progress),
        ),
        Task(
            "eigenvalues",
            settings | {"step": "eigenvalues", "bounds": bounds},
            lambda _: _eigenvalues(file, net, samples, settings, bounds, progress),
        ),
    ]
    make_folder(folder, "directory")
    with StudyStore(folder / "kernels.sqlite") as store:
        # One at a time: each has all threads, and a bar of its own.
        pair, spectrum = Runner(store, len(steps)).run(steps, in_threads(1))
    if not keep_kernel:
        file.unlink(missing_ok=True)
    return KernelReport(
        n=len(samples),
        closest_pair=AnglePair(**pair["pair"]),
        **spectrum["numbers"],
        seconds={"closest pair": pair["seconds"], **spectrum["spent"]},
    )


def _closest_pair(net: MLP, X: FloatArray, progress: Progress) -> Values:
    # Hours, which would be lost if the next step were refused.
    n = len(X)
    require_memory(4 * n * (n + 1), f"the packed kernel of {n} samples", "take fewer samples")
    started = time.perf_counter()
    pair = net.smallest_angle(X, progress=progress)._asdict()
    return {"pair": pair, "seconds": time.perf_counter() - started}


def _eigenvalues(
    file: Path, net: MLP, X: FloatArray, settings: Values, bounds: bool, progress: Progress
) -> Values:
    started = time.perf_counter()
    kernel = _kernel(file, net, X, settings, progress)
    written = time.perf_counter()
    error = net.astype("float64").feature_error  # that of a kernel in float64
    result = conditioning(kernel, bounds=bounds, feature_error=error, progress=progress)
    if bounds:
        result = result.widened(**net.ntk_errors(X, dtype="float64"))
    finished = time.perf_counter()
    spent = {"kernel": written - started, "eigenvalues": finished - written}
    return {"numbers": result.numbers, "spent": spent}


def _kernel(
    file: Path, net: MLP, X: FloatArray, settings: Values, progress: Progress
) -> PackedKernel:
    """Return the kernel that an earlier run left, or a new one if that is damaged."""
    try:
        return PackedKernel.load(file, mmap=True, description=settings)
    except FileNotFoundError:
        pass
    except ValueError as error:
        warnings.warn(f"{error}; it is computed again", RuntimeWarning, stacklevel=1)
    kernel = net.ntk(X, dtype="float64", out="packed", progress=progress)
    kernel.save(file, description=settings, overwrite=True)  # nobody else's: its name is a digest
    del kernel
    return PackedKernel.load(file, mmap=True, verify=False)
