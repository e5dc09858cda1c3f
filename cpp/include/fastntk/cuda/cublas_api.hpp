// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>

// This declares the few functions of cuBLAS that are used, as the library exports them. It is
// opened at run time, so that a build needs neither its header nor the library;
// cpp/tests/cublas_conformance.cu compares what is declared here with both.
struct CUstream_st;    // what cudaStream_t points to
struct cublasContext;  // NOLINT(readability-identifier-naming): NVIDIA's name

namespace fastntk::cublas {

// These enumerations are C's, so they are as wide as an int.
// NOLINTBEGIN(performance-enum-size)
enum class Status : int {
  success = 0,
  not_initialized = 1,
  alloc_failed = 3,
  invalid_value = 7,
  arch_mismatch = 8,
  mapping_error = 11,
  execution_failed = 13,
  internal_error = 14,
  not_supported = 15,
  license_error = 16,
};
enum class Operation : int { none = 0, transpose = 1 };
enum class PointerMode : int { host = 0, device = 1 };
// Neither mode rounds operands to TF32 or emulates a precision; pedantic also keeps to the
// prescribed precision and standard arithmetic in every step of a calculation.
enum class MathMode : int { standard = 0, pedantic = 2 };
enum class DataType : int { float32 = 0, float64 = 1 };
// These are the modes of cublasGemmEx: tf32 keeps 10 bits of the mantissa of its operands; emulated
// is float64 by fixed-point slices on integer tensor cores.
enum class ComputeType : int {
  float32 = 68,
  float32_pedantic = 69,
  float64 = 70,
  float64_pedantic = 71,
  float32_tf32 = 77,
  float64_emulated = 79,
};
enum class GemmAlgorithm : int { automatic = -1 };
// NOLINTEND(performance-enum-size)

struct Types {
  using Handle = cublasContext*;
  using Stream = CUstream_st*;
  using Status = cublas::Status;
  using Operation = cublas::Operation;
  using PointerMode = cublas::PointerMode;
  using MathMode = cublas::MathMode;
  using DataType = cublas::DataType;
  using ComputeType = cublas::ComputeType;
  using GemmAlgorithm = cublas::GemmAlgorithm;
};

// The functions have the types above or, to compare, those of the real header. Matrices are
// column-major; dimensions are of type I: int, or int64_t in the functions that end in _64.
template <class T>
struct Functions {
  template <class I, class Real>
  using Gemm = typename T::Status (*)(typename T::Handle, typename T::Operation,
                                      typename T::Operation, I m, I n, I k, const Real* alpha,
                                      const Real* a, I lda, const Real* b, I ldb, const Real* beta,
                                      Real* c, I ldc);
  template <class I>
  using GemmEx = typename T::Status (*)(typename T::Handle, typename T::Operation,
                                        typename T::Operation, I m, I n, I k, const void* alpha,
                                        const void* a, typename T::DataType a_type, I lda,
                                        const void* b, typename T::DataType b_type, I ldb,
                                        const void* beta, void* c, typename T::DataType c_type,
                                        I ldc, typename T::ComputeType, typename T::GemmAlgorithm);

  typename T::Status (*create)(typename T::Handle*) = nullptr;
  typename T::Status (*destroy)(typename T::Handle) = nullptr;
  typename T::Status (*get_version)(typename T::Handle, int*) = nullptr;
  typename T::Status (*set_stream)(typename T::Handle, typename T::Stream) = nullptr;
  typename T::Status (*set_math_mode)(typename T::Handle, typename T::MathMode) = nullptr;
  typename T::Status (*set_pointer_mode)(typename T::Handle, typename T::PointerMode) = nullptr;
  typename T::Status (*set_workspace)(typename T::Handle, void*, std::size_t) = nullptr;
  Gemm<int, float> sgemm = nullptr;
  Gemm<int, double> dgemm = nullptr;
  Gemm<std::int64_t, float> sgemm_64 = nullptr;
  Gemm<std::int64_t, double> dgemm_64 = nullptr;
  GemmEx<int> gemm_ex = nullptr;
  GemmEx<std::int64_t> gemm_ex_64 = nullptr;

  // Calls visit(symbol, pointer&) for each of them.
  template <class Visit>
  void for_each(const Visit& visit) {
    visit("cublasCreate_v2", create);
    visit("cublasDestroy_v2", destroy);
    visit("cublasGetVersion_v2", get_version);
    visit("cublasSetStream_v2", set_stream);
    visit("cublasSetMathMode", set_math_mode);
    visit("cublasSetPointerMode_v2", set_pointer_mode);
    visit("cublasSetWorkspace_v2", set_workspace);
    visit("cublasSgemm_v2", sgemm);
    visit("cublasDgemm_v2", dgemm);
    visit("cublasSgemm_v2_64", sgemm_64);
    visit("cublasDgemm_v2_64", dgemm_64);
    visit("cublasGemmEx", gemm_ex);
    visit("cublasGemmEx_64", gemm_ex_64);
  }
};

}  // namespace fastntk::cublas
