# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Threads: the same bits for any number of them, Ctrl-C, progress, and BLAS left as it was."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from concurrency import others_run_during
from interrupts import assert_ctrl_c_stops
from threadpoolctl import threadpool_info, threadpool_limits

import fastntk
from fastntk import infinite, info
from fastntk._support import blas_threads as blas_threads_module
from fastntk._support import threads as support
from fastntk._support.blas_threads import SingleThreadedBlas
from fastntk._support.memory import has_address_space
from fastntk._support.threads import (
    core_threads,
    in_own_thread,
    map_in_threads,
    thread_count,
)


def blas_threads() -> list[int]:
    return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [50, 700])
def test_results_do_not_depend_on_the_number_of_threads(n: int, dtype: str) -> None:
    net = fastntk.MLP([10, 70, 90, 2], bias_std=0.2, dtype=dtype)
    X = np.random.default_rng(0).standard_normal((n, 10)).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            assert thread_count() == threads
            results.append(
                (net(X), net.gradient_features(X), net.ntk(X), net.ntk(X[: n // 2], X[n // 3 :]))
            )
    for others in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], others, strict=True))


def test_study_does_not_depend_on_the_number_of_threads() -> None:
    X = np.random.default_rng(0).standard_normal((90, 5))
    kernels = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            kernels.append(fastntk.ntk_depths(X, [0, 2, 3], width=40))
    assert all(np.array_equal(kernels[0][d], kernels[1][d]) for d in (0, 2, 3))


def eigenvalues_of(K: npt.NDArray[np.float64]) -> list[object]:
    """Return eigenvalues and eigenvectors in all of their digits."""
    small = np.ascontiguousarray(K[:150, :150])
    results: list[object] = [fastntk.spectrum(K).tolist()]
    for bounds in (True, False):
        found = fastntk.conditioning(small, bounds=bounds, k=3, eigenvectors=True)
        assert found.smallest_vectors is not None
        results += [found.eigenvalue_min, found.eigenvalue_max, found.noise_floor]
        results += [found.smallest.tolist(), found.smallest_vectors.tolist()]
    results.append(repr(fastntk.batch_conditioning(K, 100).batches))
    return results


def test_eigenvalues_do_not_depend_on_the_number_of_threads() -> None:
    X = np.random.default_rng(0).standard_normal((310, 20))
    K = fastntk.MLP([20, 64, 64, 1]).ntk(X)
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            study = fastntk.depth_study(X[:90], depths=[1, 2], width=32, seeds=1, progress=False)
            frame = study.to_frame()
            timings = [name for name in frame.columns if "seconds" in name]
            results.append(
                (
                    eigenvalues_of(K),
                    repr(fastntk.conditioning(K)),
                    repr(fastntk.conditioning(K[:150, :150])),
                    repr(infinite.Network(depth=2).conditioning(X[:150])),
                    frame.drop(columns=timings).to_csv(),
                )
            )
    assert results[0] == results[1] == results[2]


def test_eigenvalues_beside_other_python_threads() -> None:
    net = fastntk.MLP([20, 64, 64, 1])
    X = np.random.default_rng(0).standard_normal((200, 20))
    K = net.ntk(X)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        expected = eigenvalues_of(K)
        results: list[bool] = []

        def work() -> None:
            for _ in range(2):
                net.ntk(X)
                results.append(eigenvalues_of(K) == expected)
                fastntk.linearity.hessian_norm(net, X[:2])

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert results == [True] * 6
        assert blas_threads() == before


def test_threads_where_no_blas_tells_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas_threads_module, "_counts", list)
    for processors, expected in ((3, 3), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        blas = blas_threads_module.SingleThreadedBlas()
        assert blas.enter(shared=False) == expected
        assert blas.enter(shared=True) == expected
        blas.leave(shared=True)
        blas.leave(shared=False)


def test_what_runs_in_its_own_thread_returns_raises_and_restores() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert in_own_thread(lambda: (threading.current_thread().daemon, blas_threads())) == (
            True,
            [1] * len(before),
        )
        with pytest.raises(ZeroDivisionError):
            in_own_thread(lambda: 1 // 0)
        assert blas_threads() == before


def test_a_thread_that_finds_no_memory_for_its_work_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = blas_threads()
    here, room = threading.current_thread(), support._with_room

    def no_room_elsewhere(jobs: int) -> int:
        if threading.current_thread() is here:
            return room(jobs)
        raise MemoryError("6 MiB of memory")

    monkeypatch.setattr(support, "_with_room", no_room_elsewhere)
    with pytest.raises(MemoryError, match="6 MiB of memory"):
        in_own_thread(lambda: 1)
    monkeypatch.undo()
    assert in_own_thread(lambda: 1) == 1
    assert blas_threads() == before


def test_a_thread_that_finds_no_memory_to_begin_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CPython says nothing of it but in the thread: Thread.start would never return."""
    before = blas_threads()
    monkeypatch.setattr(support, "_BEGINNING", 0.1)
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: 1)
    with pytest.raises(MemoryError, match="a thread, which needs 8 MiB of memory as a rule, c"):
        in_own_thread(lambda: 1)
    monkeypatch.undo()
    assert in_own_thread(lambda: 1) == 1
    assert blas_threads() == before


@pytest.mark.parametrize(
    ("n", "call"),
    [
        (20, "net.ntk(X)"),
        (20, "fastntk.conditioning(K)"),
        (300, "net.ntk(X, progress=lambda *_: None)"),
    ],
)
def test_python_may_end_while_a_daemon_thread_computes(n: int, call: str) -> None:
    """Python 3.13 and earlier ended the thread by unwinding it, which aborted the process."""
    program = f"""
        import threading
        import numpy as np
        import fastntk

        net = fastntk.MLP([5, 64, 64, 1])
        X = np.random.default_rng(0).standard_normal(({n}, 5))
        K = net.ntk(X)
        all_at_work = threading.Barrier(9)

        def compute():
            {call}
            all_at_work.wait()
            while True:
                {call}

        for _ in range(8):
            threading.Thread(target=compute, daemon=True).start()
        all_at_work.wait()
        for _ in range(3):
            net.ntk(X)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_other_python_threads_run_while_lapack_does() -> None:
    """Another thread gets its turn while eigenvalues are computed: counted, not timed."""
    K = np.eye(700) + np.random.default_rng(0).standard_normal((700, 700)) * 1e-3
    K = K + K.T
    for function in (np.linalg.eigvalsh, np.linalg.eigh):

        def run(function: Any = function) -> bool:
            return others_run_during(lambda: function(K))

        assert in_own_thread(run)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_the_spectrum_within_a_second() -> None:
    program = """
        import numpy as np
        import fastntk
        from fastntk.eigenvalues import full_spectrum

        small = np.eye(3)
        K = np.ones((4000, 4000)) + np.diag(np.arange(4000.0))
        own_thread = full_spectrum.in_own_thread

        def begun(function):
            print("started", flush=True)
            return own_thread(function)

        full_spectrum.in_own_thread = begun
        try:
            fastntk.spectrum(K)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        full_spectrum.in_own_thread = own_thread
        print(fastntk.spectrum(small).tolist(), flush=True)
        """
    assert_ctrl_c_stops(program, then="[1.0, 1.0, 1.0]")


def waits_of(function: Any, calls: int) -> int:
    """Return how often this thread waited, for another one as a rule, in so many calls."""
    resource = pytest.importorskip("resource")
    function()
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    for _ in range(calls):
        function()
    return int(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="counts of threads are Linux's")
def test_small_kernels_start_no_threads() -> None:
    """A thread takes longer to start, and to wait for, than the kernel of some samples."""
    net = fastntk.MLP([10, 64, 64, 1])
    X = np.random.default_rng(0).standard_normal((300, 10))
    assert waits_of(lambda: net.ntk(X), 20) >= 5
    calls = [
        lambda: net.ntk(X[:20]),
        lambda: net.ntk(X[:20], X[:5]),
        lambda: net.ntk(X[:20], out="packed"),
        lambda: net.ntk(X[:20], dtype="float32"),
    ]
    for call in calls:
        assert waits_of(call, 40) < 20


def test_blas_is_single_threaded_inside_and_restored_after() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with core_threads() as outer:
            assert set(blas_threads()) == {1}
            with core_threads() as inner:
                assert inner == outer == 2
            assert set(blas_threads()) == {1}
        assert blas_threads() == before

        def fail(stage: str, done: int, total: int) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            fastntk.MLP([3, 4, 1]).ntk(np.ones((5, 3)), progress=fail)
        assert blas_threads() == before


def test_info_says_of_a_blas_whose_limits_hold_in_one_thread_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"internal_api": "openblas", "version": "0.3.30", "num_threads": 4, "filepath": "x.so"}
    for layer, said in (("pthreads", "4 threads: x.so"), ("openmp", "set OMP_NUM_THREADS=1 for")):
        library = {**given, "threading_layer": layer}
        monkeypatch.setattr(info, "blas_libraries", lambda library=library: [library])
        (line,) = (value for what, value in info.describe() if what == "BLAS")
        assert said in line
        assert ("OpenMP" in line) == (layer == "openmp")
    # Of MKL it is one for the process.
    library = {**given, "internal_api": "mkl", "threading_layer": "intel"}
    monkeypatch.setattr(info, "blas_libraries", lambda: [library])
    assert not any("OpenMP" in value for what, value in info.describe() if what == "BLAS")


def test_inner_calls_only_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    enter = SingleThreadedBlas.enter

    def counted(self: SingleThreadedBlas, *, shared: bool) -> int:
        nonlocal asked
        asked += 1
        return enter(self, shared=shared)

    monkeypatch.setattr(SingleThreadedBlas, "enter", counted)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with core_threads() as threads:
            fastntk.conditioning(np.eye(5))
            assert core_threads().__enter__() == threads  # one that leaves last, out of order
        assert set(blas_threads()) == {1}
        core_threads().__exit__()
        assert blas_threads() == before
    assert asked == 1


def test_calls_from_several_threads() -> None:
    net = fastntk.MLP([10, 60, 60, 1])
    X = np.random.default_rng(0).standard_normal((300, 10))
    expected = net.ntk(X)
    before = blas_threads()
    results: list[bool] = []

    def work() -> None:
        results.extend(np.array_equal(net.ntk(X), expected) for _ in range(5))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [True] * 20
    assert blas_threads() == before


def test_other_python_threads_run_meanwhile() -> None:
    net = fastntk.MLP([200, 400, 400, 1])
    X = np.random.default_rng(0).standard_normal((1000, 200))
    assert others_run_during(lambda: net.ntk(X))


def test_progress_callback_sees_the_stages_and_the_end() -> None:
    seen: list[tuple[str, int, int]] = []
    net = fastntk.MLP([10, 60, 60, 1])
    X = np.random.default_rng(0).standard_normal((600, 10))
    net.ntk(X, progress=lambda *step: seen.append(step))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["features", "tiles"]
    stage, done, total = seen[-1]
    assert (stage, done) == ("tiles", total)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_the_core_within_a_second_and_leaves_everything_usable() -> None:
    program = """
        import sys, time
        import numpy as np
        import fastntk

        net = fastntk.MLP([64, 1024, 1024, 1024, 1])
        X = np.random.default_rng(0).standard_normal((9000, 64))
        started = []

        def progress(stage, done, total):
            if stage == "tiles" and not started:
                started.append(True)
                print("started", flush=True)

        try:
            net.ntk(X, progress=progress)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        else:
            sys.exit("the work was done before the signal came")
        small = np.eye(64)[:3]
        print(np.array_equal(net.ntk(small), net.ntk(small)), flush=True)
        """
    assert_ctrl_c_stops(program, then="True")


def test_results_of_a_pool_come_in_order_and_blas_is_left_as_it_was() -> None:
    three = threading.Barrier(3)

    def square(i: int) -> tuple[int, int]:
        if i < 3:
            three.wait(60)  # as many at a time, each in a thread of its own
        time.sleep(0.02 * (i % 3 == 0))  # some overtake others
        return i * i, thread_count()

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        stop = threading.Event()
        results = map_in_threads(square, range(10), 3, stop)
        assert next(results) == (0, 1)  # each computation has one thread
        assert set(blas_threads()) == {1}
        assert thread_count() == 2  # others have theirs
        assert list(results) == [(i * i, 1) for i in range(1, 10)]
        assert blas_threads() == before
        assert not stop.is_set()


def test_pools_and_the_core_limit_blas_together() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        results = map_in_threads(abs, range(4), 2, threading.Event())
        assert next(results) == 0
        with core_threads():
            # The pool ends first, and does not undo what others rely on.
            assert list(results) == [1, 2, 3]
            assert set(blas_threads()) == {1}
        assert blas_threads() == before


def test_a_pool_begins_nothing_after_a_failure() -> None:
    begun: list[int] = []
    stop = threading.Event()

    def work(i: int) -> int:
        begun.append(i)
        if i == 1:
            raise ZeroDivisionError
        time.sleep(0.05)
        return i

    results = map_in_threads(work, range(1000), 2, stop)
    assert next(results) == 0
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert stop.is_set()
    assert len(begun) <= 4


def test_a_pool_that_is_closed_early_stops() -> None:
    begun: list[int] = []
    stop = threading.Event()

    def work(i: int) -> int:
        begun.append(i)
        if i > 1:
            stop.wait(10)
        return i

    results = map_in_threads(work, range(1000), 2, stop)
    assert next(results) == 0
    started = time.perf_counter()
    results.close()
    assert stop.is_set()
    assert time.perf_counter() - started < 5
    assert len(begun) <= 4


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_a_pool_within_a_second() -> None:
    program = """
        import threading
        from fastntk._support.threads import map_in_threads

        stop = threading.Event()
        begun = []

        def work(i):
            if not begun:
                begun.append(i)
                print("started", flush=True)
            stop.wait(30)

        try:
            list(map_in_threads(work, range(1000), 2, stop))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(stop.is_set(), flush=True)
        """
    assert_ctrl_c_stops(program, then="True")


@pytest.mark.parametrize(("mebibytes", "threads"), [(42, 3), (41.9, 2), (28, 2), (27.9, 1), (6, 1)])
def test_threads_begin_where_their_stacks_and_small_arrays_have_room(
    mebibytes: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "has_address_space", lambda size: size <= mebibytes * 2**20)
    every: set[int] = set()
    meeting = threading.Barrier(threads)

    def work(_: int) -> None:
        meeting.wait(60)
        every.add(threading.get_ident())

    assert len(list(map_in_threads(work, range(2 * threads), 3, threading.Event()))) == 2 * threads
    assert len(every) == threads


def test_too_little_memory_for_small_arrays_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "has_address_space", lambda _: False)
    for jobs in (1, 2):
        with pytest.raises(MemoryError, match="6 MiB of memory for small arrays"):
            list(map_in_threads(str, range(3), jobs, threading.Event()))


def test_memory_that_cannot_be_had_is_not_there() -> None:
    assert has_address_space(4096)
    assert not has_address_space(2**62)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_a_limit_of_memory_that_is_set_later_is_seen() -> None:
    """Where there is no limit the system is not asked for pages, and where there is one it is."""
    program = """
        import resource
        from fastntk._support.memory import has_address_space
        print(has_address_space(2**28))
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, used + 2**27))
        print(has_address_space(2**28), has_address_space(2**20))
        """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["True", "False", "True"]


def test_little_memory_is_one_thread_and_gives_blas_its_threads_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with threadpool_limits(2, user_api="blas"):
        monkeypatch.setattr(support, "has_address_space", lambda size: size <= 27 * 2**20)
        assert support.thread_count() == 1
        monkeypatch.setattr(support, "has_address_space", lambda _: False)
        with pytest.raises(MemoryError, match="6 MiB"):
            support.thread_count()
        monkeypatch.undo()
        assert support.thread_count() == 2
