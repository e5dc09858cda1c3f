// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Compares cublas_api.hpp with the real header, at compile time, and with the library named on the
// command line: opened as the CUDA device does it, every function is there. Needs no GPU.
// .ci/cublas-conformance gets both and runs this.
#include <cublas_v2.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "fastntk/cuda/cublas_api.hpp"

namespace cublas = fastntk::cublas;

namespace {

struct RealTypes {
  using Handle = cublasHandle_t;
  using Stream = cudaStream_t;
  using Status = cublasStatus_t;
  using Operation = cublasOperation_t;
  using PointerMode = cublasPointerMode_t;
  using MathMode = cublasMath_t;
  using DataType = cudaDataType;
  using ComputeType = cublasComputeType_t;
  using GemmAlgorithm = cublasGemmAlgo_t;
};
using Real = cublas::Functions<RealTypes>;

// This does not compile unless a function, or one of its overloads, has the very type of the
// pointer.
#define SAME_TYPE(member, function) \
  static_assert(sizeof(static_cast<decltype(Real::member)>(&::function)) == sizeof(void*))

SAME_TYPE(create, cublasCreate_v2);
SAME_TYPE(destroy, cublasDestroy_v2);
SAME_TYPE(get_version, cublasGetVersion_v2);
SAME_TYPE(set_stream, cublasSetStream_v2);
SAME_TYPE(set_math_mode, cublasSetMathMode);
SAME_TYPE(set_pointer_mode, cublasSetPointerMode_v2);
SAME_TYPE(set_workspace, cublasSetWorkspace_v2);
SAME_TYPE(sgemm, cublasSgemm_v2);
SAME_TYPE(dgemm, cublasDgemm_v2);
SAME_TYPE(sgemm_64, cublasSgemm_v2_64);
SAME_TYPE(dgemm_64, cublasDgemm_v2_64);
SAME_TYPE(gemm_ex, cublasGemmEx);
SAME_TYPE(gemm_ex_64, cublasGemmEx_64);

static_assert(std::is_same_v<cublas::Types::Handle, cublasHandle_t>);
static_assert(std::is_same_v<cublas::Types::Stream, cudaStream_t>);

// Enumerations are of another type, but passed in the same way: as wide, and with the same values.
template <class Ours, class Theirs>
constexpr bool same_value(Ours ours, Theirs theirs) {
  return sizeof(Ours) == sizeof(Theirs) && static_cast<int>(ours) == static_cast<int>(theirs);
}
#define SAME_VALUE(ours, theirs) static_assert(same_value(cublas::ours, theirs), #theirs)

SAME_VALUE(Status::success, CUBLAS_STATUS_SUCCESS);
SAME_VALUE(Status::not_initialized, CUBLAS_STATUS_NOT_INITIALIZED);
SAME_VALUE(Status::alloc_failed, CUBLAS_STATUS_ALLOC_FAILED);
SAME_VALUE(Status::invalid_value, CUBLAS_STATUS_INVALID_VALUE);
SAME_VALUE(Status::arch_mismatch, CUBLAS_STATUS_ARCH_MISMATCH);
SAME_VALUE(Status::mapping_error, CUBLAS_STATUS_MAPPING_ERROR);
SAME_VALUE(Status::execution_failed, CUBLAS_STATUS_EXECUTION_FAILED);
SAME_VALUE(Status::internal_error, CUBLAS_STATUS_INTERNAL_ERROR);
SAME_VALUE(Status::not_supported, CUBLAS_STATUS_NOT_SUPPORTED);
SAME_VALUE(Status::license_error, CUBLAS_STATUS_LICENSE_ERROR);
SAME_VALUE(Operation::none, CUBLAS_OP_N);
SAME_VALUE(Operation::transpose, CUBLAS_OP_T);
SAME_VALUE(PointerMode::host, CUBLAS_POINTER_MODE_HOST);
SAME_VALUE(PointerMode::device, CUBLAS_POINTER_MODE_DEVICE);
SAME_VALUE(MathMode::standard, CUBLAS_DEFAULT_MATH);
SAME_VALUE(MathMode::pedantic, CUBLAS_PEDANTIC_MATH);
SAME_VALUE(DataType::float32, CUDA_R_32F);
SAME_VALUE(DataType::float64, CUDA_R_64F);
SAME_VALUE(ComputeType::float32, CUBLAS_COMPUTE_32F);
SAME_VALUE(ComputeType::float32_pedantic, CUBLAS_COMPUTE_32F_PEDANTIC);
SAME_VALUE(ComputeType::float64, CUBLAS_COMPUTE_64F);
SAME_VALUE(ComputeType::float64_pedantic, CUBLAS_COMPUTE_64F_PEDANTIC);
SAME_VALUE(ComputeType::float32_tf32, CUBLAS_COMPUTE_32F_FAST_TF32);
SAME_VALUE(ComputeType::float64_emulated, CUBLAS_COMPUTE_64F_EMULATED_FIXEDPOINT);
SAME_VALUE(GemmAlgorithm::automatic, CUBLAS_GEMM_DEFAULT);

// Each symbol is loaded into the pointer whose type was compared with it.
int misplaced_symbols() {
  cublas::Functions<cublas::Types> table;
  const struct {
    const char* symbol;
    void* pointer;
  } expected[] = {
      {"cublasCreate_v2", &table.create},
      {"cublasDestroy_v2", &table.destroy},
      {"cublasGetVersion_v2", &table.get_version},
      {"cublasSetStream_v2", &table.set_stream},
      {"cublasSetMathMode", &table.set_math_mode},
      {"cublasSetPointerMode_v2", &table.set_pointer_mode},
      {"cublasSetWorkspace_v2", &table.set_workspace},
      {"cublasSgemm_v2", &table.sgemm},
      {"cublasDgemm_v2", &table.dgemm},
      {"cublasSgemm_v2_64", &table.sgemm_64},
      {"cublasDgemm_v2_64", &table.dgemm_64},
      {"cublasGemmEx", &table.gemm_ex},
      {"cublasGemmEx_64", &table.gemm_ex_64},
  };
  constexpr std::size_t kCount = std::size(expected);
  static_assert(sizeof table == kCount * sizeof(void*), "every function is compared");
  std::size_t visited = 0;
  int misplaced = 0;
  table.for_each([&](const char* symbol, auto& pointer) {
    const bool right = visited < kCount && std::strcmp(symbol, expected[visited].symbol) == 0 &&
                       static_cast<void*>(&pointer) == expected[visited].pointer;
    if (!right) {
      std::printf("%s is loaded into the wrong pointer\n", symbol);
      ++misplaced;
    }
    ++visited;
  });
  if (visited != kCount) {
    std::printf("%zu symbols are loaded, expected %zu\n", visited, kCount);
    ++misplaced;
  }
  return misplaced;
}

int missing_symbols(const char* path) {
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::printf("%s cannot be opened: %s\n", path, dlerror());
    return 1;
  }
  cublas::Functions<cublas::Types> table;
  int missing = 0;
  table.for_each([&](const char* symbol, auto& pointer) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(dlsym(library, symbol));
    if (pointer == nullptr) {
      std::printf("%s lacks %s\n", path, symbol);
      ++missing;
    }
  });
  if (missing != 0) return missing;
  // Without a GPU a call returns an error, which has to come back as one of the values above.
  cublas::Types::Handle handle = nullptr;
  const cublas::Status status = table.create(&handle);
  std::printf("cublasCreate_v2 returns %d (0 with a GPU)\n", static_cast<int>(status));
  if (status == cublas::Status::success) {
    int version = 0;
    if (table.get_version(handle, &version) != cublas::Status::success) return 1;
    std::printf("version %d\n", version);
    return table.destroy(handle) == cublas::Status::success ? 0 : 1;
  }
  return status == cublas::Status::not_initialized || status == cublas::Status::alloc_failed ||
                 status == cublas::Status::arch_mismatch
             ? 0
             : 1;
}

}  // namespace

int main(int argc, char** argv) {
  int failed = misplaced_symbols();
  for (int i = 1; i < argc; ++i) failed += missing_symbols(argv[i]);
  std::printf("cuBLAS conformance: header %d.%d.%d: %s\n", CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR,
              CUBLAS_VER_PATCH, failed == 0 ? "the same" : "DIFFERENT");
  return failed == 0 ? 0 : 1;
}
