// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <cstdint>
#include <cstdio>
#include <limits>

#include "cuda_runtime.h"
#include "fake_cublas.hpp"

// For tests only: the driver's functions that fastntk/cuda.py asks, and for tests/gpu what the
// tests in C++ find in the headers, with the names and types of C.
namespace fake = fastntk::fake;

extern "C" {

int cuInit(unsigned /*flags*/) { return 0; }
int cuDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return 0;
}
int cuDeviceGetCount(int* count) {
  *count = fake::gpus;
  return 0;
}
int cuDeviceGet(int* device, int index) {
  *device = index;
  return 0;
}
int cuDeviceGetName(char* name, int size, int /*device*/) {
  return std::snprintf(name, static_cast<std::size_t>(size), "processor") < size ? 0 : 1;
}
int cuDeviceTotalMem_v2(std::size_t* bytes, int /*device*/) {
  *bytes = fake::memory_limit;
  return 0;
}
int cuDeviceGetAttribute(int* value, int /*attribute*/, int /*device*/) {
  *value = 9;
  return 0;
}

void on_host_adopt(const void* p, std::size_t bytes) { fake::adopt(p, bytes); }
void on_host_disown(const void* p) { fake::disown(p); }

// 0: as much as there is.
void on_host_limit_memory(std::size_t bytes) {
  fake::memory_limit = bytes == 0 ? std::numeric_limits<std::size_t>::max() : bytes;
}
std::size_t on_host_live_memory() { return fake::live_memory; }
std::size_t on_host_kept_memory() { return fake::kept_memory; }
std::size_t on_host_live_objects() { return fake::live_objects; }
void on_host_set_gpus(int count) {
  fake::gpus = count;
  static_cast<void>(cudaSetDevice(0));
}
int on_host_current_gpu() {
  int gpu = -1;
  static_cast<void>(cudaGetDevice(&gpu));
  return gpu;
}
void on_host_fail(const char* call, int status, std::size_t spared) {
  fake::failing_call = call;
  fake::failing_status = status;
  fake::calls_to_spare = spared;
}
int on_host_pending_failure() { return fake::failing_call.empty() ? 0 : 1; }
int on_host_products(int arithmetic) {
  const fake::BlasCalls& calls = fake::blas_calls;
  if (arithmetic == 0) return calls.standard;
  return arithmetic == 1 ? calls.tf32 : calls.emulated;
}

// A stream, and work for it that writes a number when somebody waits for the stream.
void* on_host_stream() {
  cudaStream_t stream = nullptr;
  static_cast<void>(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}
void on_host_write_later(void* stream, double* target, double value) {
  fake::enqueue(static_cast<cudaStream_t>(stream), [=] { *target = value; });
}

}  // extern "C"
