# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: D101, D102, D103, T201 (a script of the tests)
"""Seeds bugs into copies of the CUDA sources and checks that the tests find each.

    python3 cpp/tests/cuda/mutations.py [--list] [--smoke] [--only WORD] [--jobs N] [--built FOLDER]

Each mutant is compiled without optimization, and only what a change touches: bugs of the device and
its kernels are to be found by the tests of these, without an algorithm, and those of an algorithm
by its tests. A bug is found if the tests fail, abort, crash or do not end in time; beside it stands
what was noticed. Some show under a sanitizer alone and are sought with it. Ends with status 1 if
one survives.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from build_tests import CPP, SOURCES, Build, Built
from build_tests import DEVICE as DEVICE_TESTS

KERNELS = "include/fastntk/cuda/kernels.cuh"
LANE = "include/fastntk/cuda/lane.cuh"
DEVICE = "src/cuda/cuda_device.cu"
HEADER = "include/fastntk/cuda/cuda_device.hpp"
CLOSEST = "include/fastntk/closest_pairs.hpp"
GRAM = "include/fastntk/gram_tiles.hpp"
HESSIAN = "include/fastntk/hessian_products.hpp"
DESCENT = "include/fastntk/descent.hpp"
SGD = "include/fastntk/sgd.hpp"

# The units that are compiled again for a change in a file.
OF_LANE = ("src/cuda/cuda_device.cu", "tests/cuda/lane_test.cpp")
OF_DEVICE = ("src/cuda/cuda_device.cu",)
OF_HEADER = ("src/cuda/cuda_device.cu", "tests/cuda/cuda_device_test.cpp")
OF_ALGORITHM = ("src/cuda/cuda_float64.cu",)

# The tests that are to find the bugs of an algorithm.
TESTS = {
    CLOSEST: "*closest pairs*",
    HESSIAN: "*Hessian*",
    DESCENT: "*gradient descent*",
    SGD: "*gradient descent*",
}


@dataclass(frozen=True)
class Mutation:
    name: str
    path: str
    old: str
    new: str
    units: tuple[str, ...] = OF_LANE
    sanitize: str = ""

    @property
    def tests(self) -> tuple[str, ...]:
        return SOURCES if self.units == OF_ALGORITHM else DEVICE_TESTS


MUTATIONS = (
    # kernels
    Mutation(
        "transpose: tile read without bounds",
        KERNELS,
        "if (row0 + y < from.rows && col0 + x < from.cols) {",
        "{",
        sanitize="address",
    ),
    Mutation(
        "transpose: written without bounds",
        KERNELS,
        "if (col0 + y < to.rows && row0 + x < to.cols) {",
        "{",
    ),
    Mutation(
        "transpose: not transposed",
        KERNELS,
        "= tile[x * (kTile + 1) + y];",
        "= tile[y * (kTile + 1) + x];",
    ),
    Mutation(
        "transpose: shared memory too small",
        KERNELS,
        "tile, kTile * (kTile + 1));",
        "tile, kTile * kTile);",
        sanitize="address",
    ),
    Mutation(
        "transpose: no barrier",
        KERNELS,
        "  __syncthreads();\n  for (int y = static_cast<int>(threadIdx.y)",
        "  for (int y = static_cast<int>(threadIdx.y)",
    ),
    Mutation(
        "transpose: rows of the tile left out",
        KERNELS,
        "y < kTile; y += kTileRows) {\n    if (row0",
        "y < kTileRows; y += kTileRows) {\n    if (row0",
    ),
    Mutation(
        "transpose: wrong tile",
        KERNELS,
        "static_cast<Index>(blockIdx.x) / tiles_across",
        "static_cast<Index>(blockIdx.x) % tiles_across",
    ),
    Mutation(
        "reduction: no barrier after the first step",
        KERNELS,
        "shared[x] = value;\n  __syncthreads();",
        "shared[x] = value;",
    ),
    Mutation(
        "reduction: no barrier between steps",
        KERNELS,
        "shared[x + width]);\n    __syncthreads();",
        "shared[x + width]);",
    ),
    Mutation(
        "reduction: some threads leave before a barrier",
        KERNELS,
        "shared[x] = value;\n  __syncthreads();",
        "shared[x] = value;\n  if (x > 200) return value;\n  __syncthreads();",
    ),
    Mutation(
        "reduction: half of the threads forgotten",
        KERNELS,
        "width = kThreads / 2; width",
        "width = kThreads / 4; width",
    ),
    Mutation(
        "rows: the next sum is written before all have read this one",
        KERNELS,
        "part, combine);\n    __syncthreads();",
        "part, combine);",
        sanitize="thread",
    ),
    Mutation(
        "rows: every thread sums everything",
        KERNELS,
        "for (Index j = threadIdx.x; j < count; j += kThreads) f(j);",
        "for (Index j = 0; j < count; ++j) f(j);",
    ),
    Mutation(
        "row_dots: every thread writes",
        KERNELS,
        "if (threadIdx.x == 0) {\n    T& target",
        "{\n    T& target",
    ),
    Mutation(
        "row_dots: always accumulates",
        KERNELS,
        "target = accumulate ? target + sum : sum;",
        "target = target + sum;",
    ),
    Mutation(
        "row_dots: never accumulates",
        KERNELS,
        "target = accumulate ? target + sum : sum;",
        "target = sum;",
    ),
    Mutation("row_dots: stride of a for b", KERNELS, "* b(i, j);", "* b.data[i * a.cols + j];"),
    Mutation(
        "row_dots: columns beyond the first ones left out",
        KERNELS,
        "j < a.cols; j += kThreads) {\n    part +=",
        "j < a.cols && j < 256; j += kThreads) {\n    part +=",
    ),
    Mutation(
        "largest: NaN wins", KERNELS, "return a > b || b != b ? a : b;", "return a > b ? a : b;"
    ),
    Mutation(
        "largest: columns read without bounds",
        KERNELS,
        "j < cols; j += kThreads) {\n    part = Larger",
        "j < a.stride; j += kThreads) {\n    part = Larger",
        sanitize="address",
    ),
    Mutation(
        "largest: every thread writes",
        KERNELS,
        "if (threadIdx.x == 0) largest[i]",
        "largest[i]",
        sanitize="thread",
    ),
    Mutation(
        "largest: without the scale of the row",
        KERNELS,
        "largest[i] = row_scales[i] * result;",
        "largest[i] = result;",
    ),
    Mutation(
        "for_each: rows without bounds",
        KERNELS,
        "i < rows; i += row_step",
        "i < rows + 1; i += row_step",
    ),
    Mutation(
        "for_each: columns without bounds",
        KERNELS,
        "j < cols; j += col_step",
        "j < cols + 1; j += col_step",
    ),
    Mutation("for_each: one step only", KERNELS, "i < rows; i += row_step", "i < rows; i += rows"),
    # launches
    Mutation(
        "launch: blocks of 2048 threads",
        LANE,
        "const unsigned down = kernels::kThreads / across;",
        "const unsigned down = 2048 / across;",
    ),
    Mutation(
        "launch: one block too few",
        LANE,
        "return (count + size - 1) / size;",
        "return count / size;",
    ),
    Mutation("launch: empty grids", LANE, "  if (rows == 0 || cols == 0) return;\n", ""),
    Mutation(
        "launch: on the default stream", LANE, "config.stream = stream;", "config.stream = nullptr;"
    ),
    Mutation(
        "launch: errors ignored",
        LANE,
        "check(cudaLaunchKernelEx(",
        "static_cast<void>(cudaLaunchKernelEx(",
    ),
    Mutation(
        "visit_large: results read before they are there",
        LANE,
        '  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");\n\n',
        "\n",
    ),
    Mutation(
        "visit_large: a row read before it is there",
        LANE,
        '    check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");\n    for',
        "    for",
    ),
    Mutation(
        "visit_large: oversized copy",
        LANE,
        "copy_to_host(largest, a.rows, of_row.data());",
        "copy_to_host(largest, a.rows + 1, of_row.data());",
    ),
    Mutation(
        "visit_large: reads the device from the host",
        LANE,
        "const T value = by_row[i] *",
        "const T value = row_scales[i] *",
        sanitize="address",
    ),
    Mutation(
        "visit_large: the diagonal itself",
        LANE,
        "static_cast<Index>(i) + diagonal, ",
        "static_cast<Index>(i) + diagonal + 1, ",
    ),
    Mutation(
        "visit_large: ends too early",
        LANE,
        "if (of_row[i] < least()) return;",
        "if (of_row[i] <= least()) return;",
    ),
    # device
    Mutation(
        "gemm: operands not exchanged",
        DEVICE,
        "check(blas.dgemm_64(stream_.handle, tb, ta, c.cols, c.rows, k, &alpha, b.data, ldb, "
        "a.data, lda,",
        "check(blas.dgemm_64(stream_.handle, tb, ta, c.cols, c.rows, k, &alpha, a.data, lda, "
        "b.data, ldb,",
        OF_DEVICE,
    ),
    Mutation(
        "gemm: transpositions not exchanged",
        DEVICE,
        "blas.dgemm_64(stream_.handle, tb, ta,",
        "blas.dgemm_64(stream_.handle, ta, tb,",
        OF_DEVICE,
    ),
    Mutation(
        "gemm: leading dimension without the margin",
        DEVICE,
        "leading_dimension(c.stride)",
        "leading_dimension(c.cols)",
        OF_DEVICE,
    ),
    Mutation(
        "gemm: rows and columns exchanged",
        DEVICE,
        "blas.dgemm_64(stream_.handle, tb, ta, c.cols, c.rows,",
        "blas.dgemm_64(stream_.handle, tb, ta, c.rows, c.cols,",
        OF_DEVICE,
    ),
    Mutation(
        "gemm: beta = 1 on what was there",
        DEVICE,
        "write == Write::accumulate ? T(1) : T(0)",
        "T(1)",
        OF_DEVICE,
    ),
    Mutation(
        "gemm: nothing written for empty sums",
        DEVICE,
        "if (write == Write::overwrite) for_each",
        "if (false) for_each",
        OF_DEVICE,
    ),
    Mutation(
        "gemm: TF32 unasked",
        DEVICE,
        "const bool special = arithmetic_ == (kSingle ? Arithmetic::tf32",
        "const bool special = arithmetic_ == (kSingle ? Arithmetic::standard",
        OF_DEVICE,
    ),
    Mutation(
        "gemm: errors ignored",
        DEVICE,
        "check(blas.dgemm_64(",
        "static_cast<void>(blas.dgemm_64(",
        OF_DEVICE,
    ),
    Mutation(
        "stream: cuBLAS on the default stream",
        DEVICE,
        '      check(blas.set_stream(handle, stream), "cublasSetStream");\n',
        "",
        OF_DEVICE,
    ),
    Mutation(
        "stream: math mode not set",
        DEVICE,
        "blas.set_math_mode(handle, cublas::MathMode::standard)",
        "cublas::Status::success",
        OF_DEVICE,
    ),
    Mutation(
        "stream: leaks its event",
        DEVICE,
        "    if (event != nullptr) static_cast<void>(cudaEventDestroy(event));\n",
        "",
        OF_DEVICE,
    ),
    Mutation(
        "stream: leaks its handle",
        DEVICE,
        "    if (handle != nullptr) static_cast<void>(blas.destroy(handle));\n",
        "",
        OF_DEVICE,
    ),
    Mutation(
        "buffer: leaks",
        DEVICE,
        "{ static_cast<void>(cudaFree(p)); }",
        "{ static_cast<void>(p); }",
        OF_DEVICE,
    ),
    Mutation(
        "buffer: half of the memory",
        DEVICE,
        "take(&result, r * c * element_size)",
        "take(&result, r * c * element_size / 2)",
        OF_DEVICE,
    ),
    Mutation(
        "buffer: used before it is there",
        DEVICE,
        "const cudaError_t waited = cudaStreamSynchronize(nullptr);",
        "const cudaError_t waited = cudaSuccess;",
        OF_DEVICE,
    ),
    Mutation(
        "buffer: out of memory with memory in the pool",
        DEVICE,
        '    check(cudaMemPoolTrimTo(pool, 0), "cudaMemPoolTrimTo");\n',
        "",
        OF_DEVICE,
    ),
    Mutation(
        "buffer: one pool for all GPUs",
        DEVICE,
        'check(cudaGetDevice(&gpu), "cudaGetDevice");',
        "gpu = 0;",
        OF_DEVICE,
    ),
    Mutation(
        "buffer: nothing kept",
        DEVICE,
        "std::uint64_t kept = kKept;",
        "std::uint64_t kept = 0;",
        OF_DEVICE,
    ),
    Mutation(
        "memory: without what the pool has left",
        DEVICE,
        "result.free += bytes_of(pool, cudaMemPoolAttrReservedMemCurrent)",
        "result.free += bytes_of(pool, cudaMemPoolAttrUsedMemCurrent)",
        OF_DEVICE,
    ),
    Mutation(
        "queue: workspaces freed before the lanes are idle",
        HEADER,
        "      std::vector<decltype(make_workspace())> workspaces;\n"
        "      Queue queue(*this, progress, tasks);",
        "      Queue queue(*this, progress, tasks);\n"
        "      std::vector<decltype(make_workspace())> workspaces;",
        OF_HEADER,
    ),
    Mutation(
        "queue: a task on the lane of another's workspace",
        HEADER,
        "task(queue.lane(k), workspaces[k], index);",
        "task(queue.lane(k), workspaces[0], index);",
        OF_HEADER,
    ),
    Mutation(
        "phases: a step that has changed something broken off",
        HEADER,
        "if (phase == Phase::within_step && lane_.stopped())",
        "if (phase != Phase::end_of_step && lane_.stopped())",
        OF_HEADER,
    ),
    Mutation(
        "phases: one that a task left is followed by others",
        HEADER,
        "if (phase == Phase::within_step) return !lane_.stopped();",
        "if (phase == Phase::within_step) return true;",
        OF_HEADER,
    ),
    Mutation(
        "queue: lanes not idle at the end",
        DEVICE,
        '    check(cudaStreamSynchronize(streams_[k]->stream), "cudaStreamSynchronize");\n  }\n}',
        "  }\n}",
        OF_DEVICE,
    ),
    Mutation(
        "queue: waits for no event",
        DEVICE,
        '  check(cudaEventSynchronize(streams_[k]->event), "cudaEventSynchronize");\n',
        "",
        OF_DEVICE,
    ),
    Mutation(
        "queue: lanes not idle after an exception",
        DEVICE,
        "    static_cast<void>(cudaStreamSynchronize(stream->stream));\n",
        "",
        OF_DEVICE,
    ),
    Mutation(
        "read: copies in the wrong direction",
        DEVICE,
        "? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost",
        "? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice",
        OF_DEVICE,
    ),
    Mutation(
        "device: too little memory taken for another error",
        LANE,
        "if (error == cudaErrorMemoryAllocation) throw",
        "if (false) throw",
    ),
    # algorithms
    Mutation(
        "kernel: a triangle mirrored twice in place",
        GRAM,
        "if (j >= i + above)",
        "if (true)",
    ),
    Mutation(
        "kernel: mirrored without being transposed",
        GRAM,
        "= lower(j, i)",
        "= lower(i, j)",
        OF_ALGORITHM,
    ),
    Mutation(
        "pairs: norms of the host in a kernel",
        CLOSEST,
        "tile, row_norms.view().data + rows.first, col_norms.view().data + cols.first,",
        "tile, x.inverse_norms.data() + rows.first, z.inverse_norms.data() + cols.first,",
        OF_ALGORITHM,
    ),
    Mutation(
        "hessian: only the last samples of many",
        HESSIAN,
        "    write = Write::accumulate;\n    first += at_once.samples;",
        "    first += at_once.samples;",
        OF_ALGORITHM,
    ),
    Mutation(
        "hessian: the first vectors for all",
        HESSIAN,
        "vectors.row_block(v, group)",
        "vectors.row_block(0, group)",
        OF_ALGORITHM,
    ),
    Mutation(
        "hessian: the first tile of units for all",
        HESSIAN,
        "deltas(l, all()).col_block(units.first, units.count)",
        "deltas(l, all()).col_block(0, units.count)",
        OF_ALGORITHM,
    ),
    Mutation(
        "sgd: sums of the host in a kernel",
        DESCENT,
        "device_squares.view().data : nullptr",
        "squares.data() : nullptr",
        OF_ALGORITHM,
    ),
    Mutation(
        "sgd: sums not read back",
        DESCENT,
        "  device.read(device_squares.view(), squares.data());\n",
        "",
        OF_ALGORITHM,
    ),
    Mutation(
        "sgd: workspace of the last batch forgotten",
        SGD,
        "Tiling::larger(result, full_.largest_delta)",
        "result",
        OF_ALGORITHM,
    ),
    Mutation(
        "sgd: a slot taken while it is read",
        SGD,
        "slots[at + 1].col_block",
        "slots[at].col_block",
        OF_ALGORITHM,
    ),
    Mutation(
        "sgd: a weight changed before it was used",
        SGD,
        "update({l + 1}, kind);",
        "update({l}, kind);",
        OF_ALGORITHM,
    ),
)


def require_texts() -> None:
    """Raise unless the text that each of the bugs changes stands in its file exactly once."""
    for mutation in MUTATIONS:
        found = (CPP / mutation.path).read_text(encoding="utf-8").count(mutation.old)
        if found != 1:
            raise RuntimeError(f"{mutation.name}: the text to change occurs {found} times")


def sanitizer_flags(sanitize: str) -> list[str]:
    return ["-g1", f"-fsanitize={sanitize}", "-fno-sanitize-recover=all"] if sanitize else []


class Checker:
    """Builds of the sources as they are, plain and sanitized, that mutants take objects from."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder
        self.jobs = jobs
        self.builds: dict[str, Build] = {}

    def take(self, built: Path) -> None:
        """Take the objects of builds by CMake, the tests of which pass."""
        both = "address,undefined"
        for sanitize, sanitizers in (("", both), ("address", both), ("thread", "thread")):
            folder = built / sanitizers.partition(",")[0]
            self.builds[sanitize] = Built(folder, sanitizers, sanitizer_flags(sanitize))

    def prepare(self, mutations: list[Mutation]) -> None:
        """Compile what the mutants leave as it is, and see that the tests pass without any."""
        for sanitize in sorted({m.sanitize for m in mutations}):
            folder = self.folder / (sanitize or "plain")
            folder.mkdir()
            build = self.builds[sanitize] = Build(folder, sanitizer_flags(sanitize))
            for units in sorted({m.tests for m in mutations if m.sanitize == sanitize}, key=len):
                build.compile_all(units, self.jobs)
                if failure := build.failure(units, folder / "tests"):
                    raise RuntimeError(f"the tests fail without any bug: {failure}")

    def failure(self, mutation: Mutation) -> str:
        """Return how the tests fail with this bug, "" if they do not."""
        build = self.builds[mutation.sanitize]
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            root = Path(scratch) / "cpp"
            for part in ("include", "src", "tests"):
                shutil.copytree(CPP / part, root / part)
            path = root / mutation.path
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
            replaced = {}
            for number, unit in enumerate(mutation.units):
                replaced[unit] = Path(scratch) / f"{number}.o"
                build.compile(root, unit, replaced[unit])
            return build.failure(
                mutation.tests,
                Path(scratch) / "tests",
                replaced=replaced,
                arguments=("--abort-after=1", f"--test-case={TESTS.get(mutation.path, '*')}"),
                timeout=300,
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the bugs and end")
    parser.add_argument("--smoke", action="store_true", help="every eleventh bug alone")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--built", type=Path, help="take objects from the builds in FOLDER/address, FOLDER/thread"
    )
    chosen = parser.parse_args()
    require_texts()
    # Of kernels, launches, streams, queues and algorithms, and of what a sanitizer alone finds.
    chosen_from = MUTATIONS[::11] if chosen.smoke else MUTATIONS
    mutations = [m for m in chosen_from if chosen.only in m.name]
    if chosen.list:
        print("\n".join(m.name for m in mutations))
        return 0
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool,
    ):
        checker = Checker(Path(folder), chosen.jobs)
        if chosen.built is None:
            checker.prepare(mutations)
        else:
            checker.take(chosen.built)
        survivors = 0
        for mutation, failure in zip(mutations, pool.map(checker.failure, mutations), strict=True):
            survivors += not failure
            print(f"{'found   ' if failure else 'SURVIVES'} {mutation.name}: {failure}", flush=True)
    print(f"{len(mutations)} bugs, {survivors} survive, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
