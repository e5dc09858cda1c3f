// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <atomic>
#include <string>

#include "array_args.hpp"
#include "borrowed_blas.hpp"
#include "fastntk/amx.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/symmetric_storage.hpp"

// The bindings on the processor offer what py_device.hpp lists.
namespace fastntk::python {

// Says whether AMX multiplies matrices of float32 in calls that start from now on.
inline std::atomic<bool>& amx_in_use() {
  static std::atomic<bool> in_use = amx::why_not() == nullptr;
  return in_use;
}

inline HostDevice host_device(int threads) {
  static const Blas blas = borrow_blas();
  if (threads < 1) throw bad_argument("threads", "at least 1");
  return {blas, threads, amx_in_use() ? Float32Products::amx : Float32Products::blas};
}

struct OnHost {
  using Device = HostDevice;
  using Where = int;
  struct Guard {};
  static constexpr const char* kWhere = "threads";
  template <class T>
  using Array = python::Array<T>;

  static HostDevice device(int threads) { return host_device(threads); }

  template <class T>
  static Matrix<const T> input(const HostDevice& /*device*/, const Array<T>& array, Index cols,
                               const std::string& name) {
    return input_matrix<T>(array, cols, name);
  }
  template <class T>
  static Matrix<T> output(const HostDevice& /*device*/, Array<T>& array, Index rows, Index cols,
                          const std::string& name) {
    return output_matrix<T>(array, rows, cols, name);
  }
  template <class T>
  static SymmetricStorage<T> output_symmetric(const HostDevice& /*device*/, Array<T>& array,
                                              const std::string& name) {
    return python::output_symmetric<T>(array, name);
  }
  template <class T>
  static Index cols_of(const Array<T>& array) {
    return array.ndim() == 2 ? array.shape(1) : 0;
  }

  template <class Work>
  static auto run(const HostDevice& device, Work work) {
    return work(device);
  }

  // The processor needs no copies: it uses the arrays themselves.
  static constexpr bool kCopies = false;
  template <class T>
  class Copies {
   public:
    const T* add(const HostDevice& /*device*/, const T* host, Index /*rows*/, Index /*cols*/) {
      return host;
    }
    T* writable(T* host) const { return host; }
    void read_back(const HostDevice& /*device*/, T* /*host*/) const {}
  };

  template <class T, class Work>
  static auto with_host_result(const HostDevice& /*device*/, Matrix<T> host, Work work) {
    return work(host);
  }
};

}  // namespace fastntk::python
