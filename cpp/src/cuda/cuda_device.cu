// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "fastntk/cuda/cuda_device.hpp"
#include "fastntk/cuda/lane.cuh"
#include "fastntk/elements.hpp"

namespace fastntk {

namespace {

// This is the interval of HostDevice, for the same reasons.
constexpr std::chrono::milliseconds kMonitorInterval{100};

using BlasTypes = cublas::Types;

using fastntk::check;
void check(cublas::Status status, const char* call) {
  if (status == cublas::Status::success) return;
  const std::string message =
      std::string(call) + ": cuBLAS status " + std::to_string(static_cast<int>(status));
  if (status == cublas::Status::alloc_failed) throw CudaOutOfMemory(message);
  throw CudaError(message);
}

cublas::Operation operation(Op op) {
  return op == Op::none ? cublas::Operation::none : cublas::Operation::transpose;
}

std::int64_t leading_dimension(Index stride) { return std::max<Index>(stride, 1); }

// So much of what buffers have given back stays in a pool; other programs, and other libraries in
// this one, cannot have it. It is enough for the workspaces of two lanes, which every call takes
// anew.
constexpr std::uint64_t kKept = std::uint64_t{1} << 30U;

// Returns the pool of the GPU that the thread works with, made once and for good, or null where the
// driver has no pools. It is not the pool that CUDA has by default, which others set up as they
// need it.
cudaMemPool_t memory_pool() {
  static std::mutex mutex;
  static std::map<int, cudaMemPool_t> pools;  // guarded by mutex
  int gpu = 0;
  check(cudaGetDevice(&gpu), "cudaGetDevice");
  const std::scoped_lock lock(mutex);
  if (const auto found = pools.find(gpu); found != pools.end()) return found->second;
  int supported = 0;
  check(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, gpu),
        "cudaDeviceGetAttribute");
  cudaMemPool_t pool = nullptr;
  if (supported != 0) {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = gpu;
    check(cudaMemPoolCreate(&pool, &properties), "cudaMemPoolCreate");
    pools[gpu] = pool;
    std::uint64_t kept = kKept;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept),
          "cudaMemPoolSetAttribute");
  }
  return pools[gpu] = pool;
}

std::uint64_t bytes_of(cudaMemPool_t pool, cudaMemPoolAttr which) {
  std::uint64_t result = 0;
  check(cudaMemPoolGetAttribute(pool, which, &result), "cudaMemPoolGetAttribute");
  return result;
}

// Takes memory from the pool on the default stream, and waits for it, so that the memory is there
// for all streams.
cudaError_t take(void** p, std::size_t bytes) {
  cudaMemPool_t const pool = memory_pool();
  if (pool == nullptr) return cudaMalloc(p, bytes);
  cudaError_t error = cudaMallocFromPoolAsync(p, bytes, pool, nullptr);
  if (error == cudaErrorMemoryAllocation) {
    // What the pool keeps may be in pieces that are too small.
    static_cast<void>(cudaGetLastError());
    check(cudaMemPoolTrimTo(pool, 0), "cudaMemPoolTrimTo");
    error = cudaMallocFromPoolAsync(p, bytes, pool, nullptr);
  }
  if (error != cudaSuccess) return error;
  const cudaError_t waited = cudaStreamSynchronize(nullptr);
  if (waited != cudaSuccess) static_cast<void>(cudaFree(*p));
  check(waited, "cudaStreamSynchronize");
  return cudaSuccess;
}

}  // namespace

struct CudaDevice::Stream {
  explicit Stream(const cublas::Functions<BlasTypes>& functions) : blas(functions) {
    try {
      // The stream is not ordered with the default stream, on which others may work.
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
      check(blas.create(&handle), "cublasCreate");
      check(blas.set_stream(handle, stream), "cublasSetStream");
      check(blas.set_math_mode(handle, cublas::MathMode::standard), "cublasSetMathMode");
      check(blas.set_pointer_mode(handle, cublas::PointerMode::host), "cublasSetPointerMode");
    } catch (...) {
      release();
      throw;
    }
  }
  ~Stream() { release(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  Stream(Stream&&) = delete;
  Stream& operator=(Stream&&) = delete;

  const cublas::Functions<BlasTypes>& blas;
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  BlasTypes::Handle handle = nullptr;
  Buffer<std::byte> scratch;

 private:
  // Errors do not matter any more here.
  void release() const {
    if (handle != nullptr) static_cast<void>(blas.destroy(handle));
    if (event != nullptr) static_cast<void>(cudaEventDestroy(event));
    if (stream != nullptr) static_cast<void>(cudaStreamDestroy(stream));
  }
};

struct CudaDevice::Pool {
  const cublas::Functions<BlasTypes>& blas;
  std::mutex mutex;
  std::vector<std::unique_ptr<Stream>> idle;  // guarded by mutex

  explicit Pool(const cublas::Functions<BlasTypes>& functions) : blas(functions) {}

  std::unique_ptr<Stream> take() {
    {
      const std::scoped_lock lock(mutex);
      if (!idle.empty()) {
        auto stream = std::move(idle.back());
        idle.pop_back();
        return stream;
      }
    }
    return std::make_unique<Stream>(blas);
  }
  void give_back(std::unique_ptr<Stream> stream) {
    const std::scoped_lock lock(mutex);
    idle.push_back(std::move(stream));
  }
};

int cuda_runtime_version() { return CUDART_VERSION; }

KeepCurrentGpu::KeepCurrentGpu() {
  if (cudaGetDevice(&gpu_) != cudaSuccess) gpu_ = -1;
}

KeepCurrentGpu::~KeepCurrentGpu() {
  if (gpu_ >= 0) static_cast<void>(cudaSetDevice(gpu_));
}

bool CudaDevice::Progress::poll() {
  if (!error_ && std::chrono::steady_clock::now() - told_ >= kMonitorInterval) tell();
  return error_ != nullptr;
}

void CudaDevice::Progress::finish() {
  if (!error_) tell();
  if (error_) std::rethrow_exception(error_);
}

void CudaDevice::Progress::tell() {
  if (!monitor_) return;
  try {
    monitor_(stage_, done_, total_);
  } catch (...) {
    error_ = std::current_exception();
  }
  told_ = std::chrono::steady_clock::now();
}

CudaDevice::CudaDevice(const cublas::Functions<cublas::Types>& blas, CudaOptions options)
    : options_(options), pool_(std::make_shared<Pool>(blas)) {
  make_current();
}

void CudaDevice::make_current() const { check(cudaSetDevice(options_.gpu), "cudaSetDevice"); }

CudaDevice CudaDevice::with_smaller_tiles() const {
  CudaDevice result = *this;
  result.options_.tile = std::max(kSmallestTile, options_.tile / 2);
  return result;
}

CudaMemory CudaDevice::memory() const {
  make_current();
  CudaMemory result;
  check(cudaMemGetInfo(&result.free, &result.total), "cudaMemGetInfo");
  if (cudaMemPool_t const pool = memory_pool(); pool != nullptr) {
    result.free += bytes_of(pool, cudaMemPoolAttrReservedMemCurrent) -
                   bytes_of(pool, cudaMemPoolAttrUsedMemCurrent);
  }
  return result;
}

void* CudaMemoryPool::allocate(Index rows, Index cols, std::size_t element_size) {
  const auto r = static_cast<std::size_t>(rows);
  const auto c = static_cast<std::size_t>(cols);
  if (r == 0 || c == 0) return nullptr;
  if (r > std::numeric_limits<std::size_t>::max() / element_size / c) {
    throw CudaOutOfMemory("a matrix is larger than any memory");
  }
  void* result = nullptr;
  const cudaError_t error = take(&result, r * c * element_size);
  const std::string call = "memory of " + std::to_string(r * c * element_size) + " bytes";
  check(error, call.c_str());
  return result;
}

// For memory from a pool, cudaFree waits for nothing.
void CudaMemoryPool::free(void* p) { static_cast<void>(cudaFree(p)); }

void CudaDevice::copy(void* to, Index to_stride, const void* from, Index from_stride, Index rows,
                      Index cols, std::size_t element_size, Direction direction) const {
  if (rows == 0 || cols == 0) return;
  const auto bytes = [element_size](Index elements) {
    return static_cast<std::size_t>(elements) * element_size;
  };
  const auto kind =
      direction == Direction::to_gpu ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
  if (rows == 1 || (to_stride == cols && from_stride == cols)) {
    // In one piece they may be of any length: cudaMemcpy2D takes no rows of more than 2 GiB.
    check(cudaMemcpyAsync(to, from, bytes(rows * cols), kind, nullptr), "cudaMemcpyAsync");
  } else {
    check(cudaMemcpy2D(to, bytes(to_stride), from, bytes(from_stride), bytes(cols),
                       static_cast<std::size_t>(rows), kind),
          "cudaMemcpy2D");
  }
  // Memory that is not pinned may be copied once more after the call: wait for that too.
  check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
}

void CudaDevice::wait_for(std::uintptr_t stream) const {
  check(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(stream)), "cudaStreamSynchronize");
}

CudaDevice::Queue::Queue(const CudaDevice& device, Progress& progress, Index tasks)
    : device_(device), progress_(progress) {
  device.make_current();
  const auto lanes = static_cast<std::size_t>(std::min<Index>(device.options_.lanes, tasks));
  while (streams_.size() < lanes) {
    streams_.push_back(device.pool_->take());
    lanes_.emplace_back(*streams_.back(), device.options_.arithmetic, progress);
    pending_.push_back(0);
  }
}

CudaDevice::Queue::~Queue() {
  for (auto& stream : streams_) {
    static_cast<void>(cudaStreamSynchronize(stream->stream));
    device_.pool_->give_back(std::move(stream));
  }
}

void CudaDevice::Queue::keep(std::size_t lanes) {
  while (lanes_.size() > lanes) lanes_.pop_back();
}

void CudaDevice::Queue::wait(std::size_t k) {
  if (pending_[k] == 0) return;
  check(cudaEventSynchronize(streams_[k]->event), "cudaEventSynchronize");
  progress_.count(std::exchange(pending_[k], 0));
}

void CudaDevice::Queue::end_task(std::size_t k, Index counts) {
  wait(k);
  check(cudaEventRecord(streams_[k]->event, streams_[k]->stream), "cudaEventRecord");
  pending_[k] = counts;
}

void CudaDevice::Queue::finish() {
  for (std::size_t k = 0; k < lanes(); ++k) {
    wait(k);
    check(cudaStreamSynchronize(streams_[k]->stream), "cudaStreamSynchronize");
  }
}

CUstream_st* CudaDevice::Lane::stream() const { return stream_.stream; }

void* CudaDevice::Lane::scratch(std::size_t bytes) const {
  if (stream_.scratch.view().cols < static_cast<Index>(bytes)) {
    stream_.scratch = {};
    stream_.scratch = Buffer<std::byte>(1, static_cast<Index>(bytes));
  }
  return stream_.scratch.view().data;
}

template <class T>
void CudaDevice::Lane::gemm(Op op_a, Op op_b, T alpha, ConstMatrix<T> a, ConstMatrix<T> b,
                            Write write, Matrix<T> c) const {
  if (c.rows == 0 || c.cols == 0) return;
  const Index k = op_a == Op::none ? a.cols : a.rows;
  if (k == 0) {
    if (write == Write::overwrite) for_each(c.rows, c.cols, element::Fill<T>{T(0), c});
    return;
  }
  constexpr bool kSingle = std::is_same_v<T, float>;
  const T beta = write == Write::accumulate ? T(1) : T(0);
  const auto& blas = stream_.blas;
  // cuBLAS is column-major and is asked for cᵀ = op(b)ᵀ op(a)ᵀ: the operands change places, their
  // ops stay.
  const auto ta = operation(op_a);
  const auto tb = operation(op_b);
  const auto lda = leading_dimension(a.stride);
  const auto ldb = leading_dimension(b.stride);
  const auto ldc = leading_dimension(c.stride);
  const bool special = arithmetic_ == (kSingle ? Arithmetic::tf32 : Arithmetic::emulated_float64);
  if (special) {
    constexpr auto kType = kSingle ? cublas::DataType::float32 : cublas::DataType::float64;
    check(blas.gemm_ex_64(
              stream_.handle, tb, ta, c.cols, c.rows, k, &alpha, b.data, kType, ldb, a.data, kType,
              lda, &beta, c.data, kType, ldc,
              kSingle ? cublas::ComputeType::float32_tf32 : cublas::ComputeType::float64_emulated,
              cublas::GemmAlgorithm::automatic),
          "cublasGemmEx_64");
  } else if constexpr (kSingle) {
    check(blas.sgemm_64(stream_.handle, tb, ta, c.cols, c.rows, k, &alpha, b.data, ldb, a.data, lda,
                        &beta, c.data, ldc),
          "cublasSgemm_64");
  } else {
    check(blas.dgemm_64(stream_.handle, tb, ta, c.cols, c.rows, k, &alpha, b.data, ldb, a.data, lda,
                        &beta, c.data, ldc),
          "cublasDgemm_64");
  }
}

template void CudaDevice::Lane::gemm<float>(Op, Op, float, ConstMatrix<float>, ConstMatrix<float>,
                                            Write, Matrix<float>) const;
template void CudaDevice::Lane::gemm<double>(Op, Op, double, ConstMatrix<double>,
                                             ConstMatrix<double>, Write, Matrix<double>) const;

}  // namespace fastntk
