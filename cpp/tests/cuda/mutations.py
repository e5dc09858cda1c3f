# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: D101, D103, T201 (a script of the tests)
"""Seeds bugs into copies of the CUDA sources and checks that the tests find each.

    python3 cpp/tests/cuda/mutations.py [--list] [--only WORD] [--sanitize address]

Each mutant is compiled without optimization, and only what a change touches. A bug is found if the
tests fail, abort, crash or do not end in time. Bugs marked "address" are those that show under
AddressSanitizer alone: they need ``--sanitize address``. Ends with status 1 if one survives.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from build_tests import CPP, Build

KERNELS = "include/fastntk/cuda/kernels.cuh"
LANE = "include/fastntk/cuda/lane.cuh"
DEVICE = "src/cuda/cuda_device.cu"
HEADER = "include/fastntk/cuda/cuda_device.hpp"
CLOSEST = "include/fastntk/closest_pairs.hpp"
GRAM = "include/fastntk/gram_tiles.hpp"
HESSIAN = "include/fastntk/hessian_products.hpp"
SGD = "include/fastntk/sgd.hpp"

# The units that are compiled again for a change in a file.
OF_LANE = ("src/cuda/cuda_device.cu", "src/cuda/cuda_float64.cu", "tests/cuda/cuda_device_test.cpp")
OF_DEVICE = ("src/cuda/cuda_device.cu",)
OF_CUDA = (*OF_LANE, "src/cuda/cuda_float32.cu", "tests/cuda/cuda_test.cpp")
OF_ALGORITHM = ("src/cuda/cuda_float64.cu",)


@dataclass(frozen=True)
class Mutation:
    name: str
    path: str
    old: str
    new: str
    units: tuple[str, ...] = OF_LANE
    address: bool = False


MUTATIONS = (
    # kernels
    Mutation(
        "transpose: tile read without bounds",
        KERNELS,
        "if (row0 + y < from.rows && col0 + x < from.cols) {",
        "{",
        address=True,
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
        address=True,
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
    Mutation(
        "row_dots: stride of a for b", KERNELS, "b.data[i * b.stride + j]", "b.data[i * a.cols + j]"
    ),
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
        "j < a.cols; j += kThreads) {\n    part = Larger",
        "j < a.stride; j += kThreads) {\n    part = Larger",
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
        address=True,
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
        "cudaMalloc(&result, r * c * element_size)",
        "cudaMalloc(&result, r * c * element_size / 2)",
        OF_DEVICE,
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
        "kernel: tiles on the diagonal written twice",
        GRAM,
        "if (j >= i + above)",
        "if (true)",
        OF_ALGORITHM,
    ),
    Mutation(
        "kernel: mirrored without being transposed",
        GRAM,
        "= lower.data[j * lower.stride + i]",
        "= lower.data[i * lower.stride + j]",
        OF_ALGORITHM,
    ),
    Mutation(
        "pairs: norms of the host in a kernel",
        CLOSEST,
        "tile, device_scales + rows.first, device_scales + cols.first,",
        "tile, scales + rows.first, scales + cols.first,",
        OF_ALGORITHM,
    ),
    Mutation(
        "hessian: only the last samples of many",
        HESSIAN,
        "    write = Write::accumulate;\n    first += samples_at_once;",
        "    first += samples_at_once;",
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
        SGD,
        "device_squares.view().data : nullptr",
        "squares.data() : nullptr",
        OF_ALGORITHM,
    ),
    Mutation(
        "sgd: sums not read back",
        SGD,
        "    device.read(device_squares.view(), squares.data());\n",
        "",
        OF_ALGORITHM,
    ),
    Mutation(
        "sgd: workspace of the last batch forgotten",
        SGD,
        "Workspace(full.largest_tile(), last.largest_tile())",
        "Workspace(last.largest_tile(), last.largest_tile())",
        OF_ALGORITHM,
    ),
)


def sanitizer_flags(sanitize: str) -> list[str]:
    return ["-g1", f"-fsanitize={sanitize}", "-fno-sanitize-recover=all"] if sanitize else []


def survives(build: Build, mutation: Mutation) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "cpp"
        for part in ("include", "src", "tests"):
            shutil.copytree(CPP / part, root / part)
        path = root / mutation.path
        text = path.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            raise RuntimeError(
                f"{mutation.name}: the text to change occurs {text.count(mutation.old)} times"
            )
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        replaced = {}
        for number, unit in enumerate(mutation.units):
            replaced[unit] = Path(scratch) / f"{number}.o"
            build.compile(root, unit, replaced[unit])
        return build.passes(replaced, Path(scratch) / "tests")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the bugs and end")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--sanitize", default="", help="such as address")
    parser.add_argument("--jobs", type=int, default=1)
    chosen = parser.parse_args()
    mutations = [
        m
        for m in MUTATIONS
        if chosen.only in m.name and ("address" in chosen.sanitize or not m.address)
    ]
    if chosen.list:
        print("\n".join(m.name for m in mutations))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        build = Build(Path(folder), sanitizer_flags(chosen.sanitize))
        build.compile_all(chosen.jobs)
        if not build.passes({}, Path(folder) / "tests"):
            print("the tests fail without any bug")
            return 1
        survivors = 0
        for mutation in mutations:
            alive = survives(build, mutation)
            survivors += alive
            print(f"{'SURVIVES' if alive else 'found   '} {mutation.name}", flush=True)
    print(f"{len(mutations)} bugs, {survivors} survive, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
