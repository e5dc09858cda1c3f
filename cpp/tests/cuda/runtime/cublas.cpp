// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <string>
#include <type_traits>

#include "cuda_runtime.h"
#include "fake_cublas.hpp"

// For tests only: the functions of cuBLAS that are used, under their own names, in this program.
// Operands are checked as cuBLAS does, and to the last element of their extent.
struct cublasContext {
  cudaStream_t stream = nullptr;
  bool standard_math = false;
  bool host_pointers = false;
};

namespace fastntk::fake {

BlasCalls blas_calls;

namespace {

using cublas::Operation;
using cublas::Status;
using cublas::Types;
using Integer = std::int64_t;

template <class T>
void check_operand(const T* p, Integer rows, Integer cols, Integer leading, const char* name) {
  const auto elements = static_cast<std::size_t>((cols - 1) * leading + rows);
  if (!on_device(p, elements * sizeof(T))) {
    die(std::string("GEMM: operand ") + name + " leaves its memory");
  }
}

template <class T>
Status gemm(Types::Handle handle, Operation op_a, Operation op_b, Integer m, Integer n, Integer k,
            const T* alpha, const T* a, Integer lda, const T* b, Integer ldb, const T* beta, T* c,
            Integer ldc) {
  if (const int error = injected_failure("gemm")) return static_cast<Status>(error);
  const bool a_turned = op_a == Operation::transpose;
  const bool b_turned = op_b == Operation::transpose;
  if (m < 0 || n < 0 || k < 0 || lda < std::max<Integer>(1, a_turned ? k : m) ||
      ldb < std::max<Integer>(1, b_turned ? n : k) || ldc < std::max<Integer>(1, m)) {
    return Status::invalid_value;
  }
  if (!handle->standard_math || !handle->host_pointers) die("GEMM: modes were not set");
  if (m == 0 || n == 0 || k == 0) die("GEMM: of an empty product, which libraries differ about");
  check_operand(a, a_turned ? k : m, a_turned ? m : k, lda, "A");
  check_operand(b, b_turned ? n : k, b_turned ? k : n, ldb, "B");
  check_operand(c, m, n, ldc, "C");
  enqueue(handle->stream, [=, factor = *alpha, keep = *beta] {
    for (Integer j = 0; j < n; ++j) {
      for (Integer i = 0; i < m; ++i) {
        T sum = T(0);
        for (Integer p = 0; p < k; ++p) {
          sum += (a_turned ? a[p + i * lda] : a[i + p * lda]) *
                 (b_turned ? b[j + p * ldb] : b[p + j * ldb]);
        }
        T& target = c[i + j * ldc];
        target = keep == T(0) ? factor * sum : factor * sum + keep * target;
      }
    }
  });
  return Status::success;
}

}  // namespace

}  // namespace fastntk::fake

using namespace fastntk::fake;  // NOLINT(google-build-using-namespace): the library's own names
namespace cublas = fastntk::cublas;
using cublas::Operation;
using cublas::Status;
using Handle = cublas::Types::Handle;

extern "C" {

Status cublasCreate_v2(Handle* handle) {
  if (const int error = injected_failure("cublasCreate")) return static_cast<Status>(error);
  *handle = new cublasContext;
  ++live_objects;
  return Status::success;
}
Status cublasDestroy_v2(Handle handle) {
  delete handle;
  --live_objects;
  return Status::success;
}
Status cublasGetVersion_v2(Handle /*handle*/, int* version) {
  *version = 130101;
  return Status::success;
}
Status cublasSetStream_v2(Handle handle, cudaStream_t stream) {
  handle->stream = stream;
  return Status::success;
}
Status cublasSetMathMode(Handle handle, cublas::MathMode mode) {
  handle->standard_math = mode == cublas::MathMode::standard;
  return Status::success;
}
Status cublasSetPointerMode_v2(Handle handle, cublas::PointerMode mode) {
  handle->host_pointers = mode == cublas::PointerMode::host;
  return Status::success;
}
Status cublasSetWorkspace_v2(Handle /*handle*/, void* /*workspace*/, std::size_t /*bytes*/) {
  return Status::not_supported;
}

#define GEMM(NAME, T, I)                                                                    \
  Status NAME(Handle handle, Operation op_a, Operation op_b, I m, I n, I k, const T* alpha, \
              const T* a, I lda, const T* b, I ldb, const T* beta, T* c, I ldc) {           \
    ++blas_calls.standard;                                                                  \
    return gemm<T>(handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);       \
  }
GEMM(cublasSgemm_v2, float, int)
GEMM(cublasDgemm_v2, double, int)
GEMM(cublasSgemm_v2_64, float, std::int64_t)
GEMM(cublasDgemm_v2_64, double, std::int64_t)

#define GEMM_EX(NAME, I)                                                                           \
  Status NAME(Handle handle, Operation op_a, Operation op_b, I m, I n, I k, const void* alpha,     \
              const void* a, cublas::DataType a_type, I lda, const void* b,                        \
              cublas::DataType b_type, I ldb, const void* beta, void* c, cublas::DataType c_type,  \
              I ldc, cublas::ComputeType compute, cublas::GemmAlgorithm /*algorithm*/) {           \
    if (a_type != c_type || b_type != c_type) return Status::not_supported;                        \
    const auto call = [&](auto type) {                                                             \
      using T = decltype(type);                                                                    \
      return gemm<T>(handle, op_a, op_b, m, n, k, static_cast<const T*>(alpha),                    \
                     static_cast<const T*>(a), lda, static_cast<const T*>(b), ldb,                 \
                     static_cast<const T*>(beta), static_cast<T*>(c), ldc);                        \
    };                                                                                             \
    if (c_type == cublas::DataType::float32 && compute == cublas::ComputeType::float32_tf32) {     \
      ++blas_calls.tf32;                                                                           \
      return call(0.0F);                                                                           \
    }                                                                                              \
    if (c_type == cublas::DataType::float64 && compute == cublas::ComputeType::float64_emulated) { \
      ++blas_calls.emulated;                                                                       \
      return call(0.0);                                                                            \
    }                                                                                              \
    return Status::not_supported;                                                                  \
  }
GEMM_EX(cublasGemmEx, int)
GEMM_EX(cublasGemmEx_64, std::int64_t)

}  // extern "C"
