// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>

#include "array_args.hpp"
#include "borrowed_blas.hpp"
#include "fastntk/amx.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/symmetric_storage.hpp"

namespace fastntk::python {

// Lets Ctrl-C and the user's progress callback reach the work from the thread that waits for it.
inline Monitor python_monitor(const py::object& callback) {
  // The callback is owned by the caller's frame, which outlives the call.
  return [callback = py::handle(callback)](const char* stage, Index done, Index total) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!callback.is_none()) callback(stage, done, total);
  };
}

// Whether AMX multiplies matrices of float32, of calls that start from now on.
inline std::atomic<bool>& amx_in_use() {
  static std::atomic<bool> in_use = amx::why_not() == nullptr;
  return in_use;
}

inline HostDevice host_device(int threads) {
  static const Blas blas = borrow_blas();
  if (threads < 1) throw bad_argument("threads", "at least 1");
  return {blas, threads, amx_in_use() ? Float32Products::amx : Float32Products::blas};
}

// The bindings are templates over where the work is done, OnHost or OnGpu (on_gpu.hpp). Each says
//
//   Device         what the algorithms of the core run on;
//   Where          the argument that stands for it in Python, and its name there;
//   Array<T>       samples, vectors and results, in the device's memory;
//   input, output  the views of such arrays, for reading and for writing;
//   cols_of        the number of their columns;
//   Guard          lives as long as a call;
//   run            calls work(device), as often as it takes to find the memory for it;
//   Copies<T>      arrays of the host, such as weights, as the device sees them;
//   with_host_result
//                  calls work(matrix) with what stands for a small array of the host.
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

  // Here the arrays themselves.
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
