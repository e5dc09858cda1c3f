# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""LAPACK without the interpreter lock: what SciPy's functions give, and Ctrl-C."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
from concurrency import others_run_during
from interrupts import assert_ctrl_c_stops

import fastntk._core as _core
from fastntk._support.threads import core_threads, in_own_thread, map_in_threads
from fastntk.symmetric import lapack

Matrix = npt.NDArray[np.float64]


def positive(n: int, rank: int) -> Matrix:
    features = np.random.default_rng(n).standard_normal((n, rank))
    kernel = features @ features.T
    return (kernel + kernel.T) / 2


@pytest.mark.parametrize("n", [1, 2, 60, 301])
def test_the_bits_of_scipy(n: int) -> None:
    K, right = positive(n, n + 3), np.random.default_rng(0).standard_normal((n, 3))
    with core_threads():
        values, vectors = scipy.linalg.eigh(K, driver="evd")
        factor = scipy.linalg.cho_factor(np.array(K, order="F"), lower=True)
        solution, _ = scipy.linalg.lapack.dpotrs(factor[0], right, lower=1)
        norm = float(np.abs(K).sum(axis=0).max())
        condition, _ = scipy.linalg.lapack.dpocon(factor[0], norm, uplo="L")
    for overwrite in (False, True):
        given = K.copy()
        found = lapack.eigenpairs(given, overwrite=overwrite)
        assert np.array_equal(found[0], values)
        assert np.array_equal(found[1], vectors)
        assert np.array_equal(given, vectors.T if overwrite else K)
    alone, _ = lapack.eigenpairs(K, vectors=False)
    np.testing.assert_allclose(alone, values, rtol=0, atol=1e-13 * values[-1])
    ours = lapack.CholeskyFactor(K.copy())
    assert np.array_equal(ours.solve(right), solution)
    # An estimate, whose sums of absolute values OpenBLAS adds up as they lie in memory.
    assert ours.reciprocal_condition(norm) == pytest.approx(condition, rel=1e-12, abs=0)


def test_ranks() -> None:
    for n, rank in ((40, 7), (300, 120)):
        K = positive(n, rank)
        for overwrite in (False, True):
            assert lapack.pivoted_rank(K.copy(), 1e-8, overwrite=overwrite) == rank


def test_what_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="pivot 1 is not positive"):
        lapack.CholeskyFactor(np.diag([1.0, -1.0, 1.0]))


def test_routines_are_checked_before_they_are_called() -> None:
    address, size = _core.lapack_routine("dpotrf", "cirii")
    assert address != 0
    assert size in {4, 8}
    with pytest.raises(ImportError, match=r"dpotrf .* has the unexpected signature"):
        _core.lapack_routine("dpotrf", "cirir")
    with pytest.raises(AssertionError, match="illegal argument, number 4"):
        lapack._Call("dpotrf", "L", 3, np.eye(3), 1)()


def test_other_python_threads_run_meanwhile() -> None:
    K = positive(900, 1000)
    assert others_run_during(lambda: lapack.eigenpairs(K))
    assert others_run_during(lambda: lapack.pivoted_rank(K, 1e-8))
    assert others_run_during(lambda: lapack.CholeskyFactor(K.copy()).solve(K))


def test_a_pool_that_stops_does_not_wait_for_lapack() -> None:
    """A thread of a pool that waits for LAPACK notices that the pool stops."""
    stop, waiting = threading.Event(), threading.Event()
    forever = threading.Event()

    def work(i: int) -> int:
        if i == 0:
            waiting.wait(60)
            raise ZeroDivisionError

        def lapack_runs() -> int:
            waiting.set()
            forever.wait(60)
            return i

        return in_own_thread(lapack_runs)

    try:
        with pytest.raises(ZeroDivisionError):
            list(map_in_threads(work, range(2), 2, stop))
        assert not forever.is_set()
    finally:
        forever.set()


# What runs LAPACK for long, with the name of the module that does it.
LONG = {
    "fit": """
        X = random.standard_normal((4000, 5))
        work = lambda: fastntk.MLP([5, 8, 1]).linearize().fit(X, X[:, 0])
        """,
    "predict": """
        X = random.standard_normal((9000, 5))
        regression = fastntk.infinite.Regression(X, depth=1)
        work = lambda: regression.predict(X[:5], X[:, 0])
        """,
    "predict at times": """
        X = random.standard_normal((4000, 5))
        regression = fastntk.infinite.Regression(X, depth=1)
        work = lambda: regression.predict(X[:5], X[:, 0], time=1.0)
        """,
    "rank": """
        X = random.standard_normal((9000, 5000))
        K = X @ X.T
        K = (K + K.T) / 2
        work = lambda: fastntk.conditioning(K, bounds=False)
        """,
}


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name != "fit")) for name in LONG]
)
def test_ctrl_c_within_a_second(name: str) -> None:
    program = f"""
        import numpy as np
        import fastntk
        from fastntk.symmetric import lapack

        random = np.random.default_rng(0)
        {LONG[name].strip()}
        own_thread = lapack.in_own_thread

        def begun(function):
            print("started", flush=True)
            return own_thread(function)

        lapack.in_own_thread = begun
        try:
            work()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        lapack.in_own_thread = own_thread
        print(fastntk.MLP([1, 1]).linearize().fit([[2.0]], [1.0]).eigenvalues.tolist(), flush=True)
        """
    assert_ctrl_c_stops(program, then="[4.0]")


_LEAVING = """
import _thread, ctypes, signal, sys, threading
from fastntk._support.threads import in_own_thread

# Where tests run in the background, SIGINT may be ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
libc = ctypes.CDLL(None)
libc.on_exit(ctypes.c_void_p(1), None)  # stands for what crashes when libraries are taken down
lapack_runs = threading.Event()

def compute():
    lapack_runs.set()
    lasting.wait(60)

lasting = threading.Event()
if {begin}:
    threading.Thread(target=lambda: lapack_runs.wait() and _thread.interrupt_main()).start()
    try:
        in_own_thread(compute)
    except KeyboardInterrupt:
        print("interrupted")
sys.exit(7)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "on_exit"), reason="this is no glibc")
@pytest.mark.parametrize("begin", [True, False])
def test_a_process_may_leave_while_lapack_works_for_nobody(begin: bool) -> None:
    """Libraries are not taken down then, as BLAS would let go of buffers that are in use."""
    ended = subprocess.run(
        [sys.executable, "-c", _LEAVING.format(begin=begin)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.stdout == ("interrupted\n" if begin else "")
    assert ended.returncode == (7 if begin else -signal.SIGSEGV)
