// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

#include "fastntk/monitor.hpp"
#include "gil.hpp"

// The bindings have this in common.
namespace fastntk::python {

namespace py = pybind11;

// This is the callback of a caller who wants to follow the work, or None.
class ProgressCallback : public py::object {
 public:
  static bool is_one(PyObject* object) {
    return object == Py_None || PyCallable_Check(object) != 0;
  }
  PYBIND11_OBJECT_DEFAULT(ProgressCallback, object, is_one)
};

// Lets Ctrl-C and the user's progress callback reach the work from the thread that waits for it.
inline Monitor python_monitor(const ProgressCallback& callback) {
  // The callback is owned by the caller's frame, which outlives the call.
  return [callback = py::handle(callback)](const char* stage, Index done, Index total) {
    const WithLock lock;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!callback.is_none()) callback(stage, done, total);
  };
}

// The bindings are templates over where the work is done, OnHost (on_host.hpp) or OnGpu
// (on_gpu.hpp). Each says
//
//   Device         what the algorithms of the core run on;
//   Where          the argument that stands for it in Python, and its name there;
//   Array<T>       samples, vectors and results, in the device's memory;
//   input, output  the views of such arrays, for reading and for writing;
//   cols_of        the number of their columns;
//   Guard          lives as long as a call;
//   run            calls work(device), as often as it takes to find the memory for it;
//   Copies<T>      arrays of the host, such as weights, as the device sees them;
//   kCopies        whether these are others than the host's;
//   with_host_result
//                  calls work(matrix) with what stands for a small array of the host.

}  // namespace fastntk::python

template <>
struct pybind11::detail::handle_type_name<fastntk::python::ProgressCallback> {
  // NOLINTNEXTLINE(readability-identifier-naming): the name that pybind11 looks for
  static constexpr auto name =
      const_name("collections.abc.Callable[[str, int, int], object] | None");
};
