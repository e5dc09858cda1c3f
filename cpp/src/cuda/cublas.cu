// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <dlfcn.h>

#include <string>
#include <type_traits>
#include <vector>

#include "fastntk/cuda/cuda_device.hpp"

namespace fastntk {

cublas::Functions<cublas::Types> open_cublas(const std::vector<const char*>& libraries) {
  void* library = nullptr;
  std::string reasons;
  for (const char* const name : libraries) {
    library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    reasons += std::string("; ") + dlerror();
  }
  if (library == nullptr) throw CudaError("cuBLAS cannot be opened" + reasons);
  cublas::Functions<cublas::Types> functions;
  // The library stays open for as long as the program runs.
  functions.for_each([library](const char* symbol, auto& function) {
    void* const address = dlsym(library, symbol);
    if (address == nullptr) {
      throw CudaError(std::string("cuBLAS lacks ") + symbol + ": version 12 or later is needed");
    }
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  });
  return functions;
}

}  // namespace fastntk
