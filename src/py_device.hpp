// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

#include "array_args.hpp"
#include "borrowed_blas.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/monitor.hpp"

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

inline HostDevice host_device(int threads) {
  static const Blas blas = borrow_blas();
  if (threads < 1) throw bad_argument("threads", "at least 1");
  return {blas, threads};
}

}  // namespace fastntk::python
