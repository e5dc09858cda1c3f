// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>

// For tests only: what the CUDA sources use of the CUDA runtime, on the processor, so that they can
// be run, and run under sanitizers, where there is no GPU. It is stricter than a GPU:
//
//   memory     begins as NaN, is known by its extent, and under AddressSanitizer is closed to the
//              host but for the time of an operation of the device. From a pool, it may be used
//              when its stream has been waited for, and becomes NaN, and closed, as soon as it is
//              freed;
//   streams    do nothing until something waits for them;
//   threads    are fibers, in an order that changes from launch to launch and, in some launches
//              under ThreadSanitizer, with no order between them but that of barriers;
//   arguments  of launches and copies are looked through for pointers that are not of the device.
//
// What it cannot show: rounding and speed of cuBLAS, faults of nvcc, the memory model of the GPU,
// the driver.
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define FASTNTK_SHARED(T, name, size) \
  T* const name = static_cast<T*>(fastntk::fake::shared_memory(sizeof(T) * (size)))

constexpr int CUDART_VERSION = 13000;

struct dim3 {
  unsigned x;
  unsigned y;
  unsigned z;
  // NOLINTNEXTLINE(google-explicit-constructor): as in CUDA
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
};
enum cudaMemcpyKind : int { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDisableTiming = 2;

struct CUstream_st;
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;

enum cudaMemAllocationType : int { cudaMemAllocationTypePinned = 1 };
enum cudaMemLocationType : int { cudaMemLocationTypeDevice = 1 };
struct cudaMemLocation {
  cudaMemLocationType type;
  int id;
};
struct cudaMemPoolProps {
  cudaMemAllocationType allocType;
  int handleTypes;
  cudaMemLocation location;
};
enum cudaMemPoolAttr : int {
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrUsedMemCurrent = 7,
};
enum cudaDeviceAttr : int { cudaDevAttrMemoryPoolsSupported = 115 };
struct CUmemPoolHandle_st;
using cudaMemPool_t = CUmemPoolHandle_st*;

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

extern dim3 threadIdx;
extern dim3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
void __syncthreads();

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMalloc(void** p, std::size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t kept);
cudaError_t cudaMallocFromPoolAsync(void** p, std::size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                         std::size_t width, std::size_t height, cudaMemcpyKind kind);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);

namespace fastntk::fake {

void* shared_memory(std::size_t bytes);
bool on_device(const void* p, std::size_t bytes);
// Memory of the host that passes for memory of the device: that of arrays which somebody else says
// are there.
void adopt(const void* p, std::size_t bytes);
void disown(const void* p);
// Ends the program: what was found is a fault of the sources.
[[noreturn]] void die(const std::string& message);
void enqueue(cudaStream_t stream, std::function<void()> operation);
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   std::function<void()> thread);
// Any word of an argument that could be the address of memory of the host.
void check_argument(const void* argument, std::size_t bytes);

// For the tests themselves.
extern std::size_t memory_limit;    // bytes
extern std::size_t live_memory;     // bytes
extern std::size_t kept_memory;     // bytes, in pools
extern std::uint64_t kept_at_most;  // as the last pool was told
extern bool pools_supported;
extern std::size_t live_objects;    // allocations, streams, events, cuBLAS handles
extern int gpus;                    // how many there are
extern std::string failing_call;    // fails with
extern int failing_status;          //   this
extern std::size_t calls_to_spare;  // but for so many calls

// The status to return for the next call of this name, 0 for none.
int injected_failure(const char* call);

}  // namespace fastntk::fake

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  const auto check = [](auto& value) {
#if __has_builtin(__builtin_clear_padding)  // not for clang-tidy
    __builtin_clear_padding(&value);        // where an old pointer may lie
#endif
    fastntk::fake::check_argument(&value, sizeof value);
  };
  std::apply([&check](auto&... value) { (check(value), ...); }, values);
  return fastntk::fake::launch(*config, reinterpret_cast<const void*>(kernel),
                               [kernel, values] { std::apply(kernel, values); });
}
