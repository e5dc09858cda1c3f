// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "array_args.hpp"
#include "fastntk/host.hpp"
#include "py_device.hpp"
#include "py_network.hpp"

namespace fastntk::python {

// out (vectors, P) = Σ_i Σ_c u_ic ∇²f_c(x_i) v for the rows v of `vectors` (vectors, P); the rows
// of `coefficients` (samples, C) are the u_i.
template <class T>
void py_hessian_products(const PyNetwork<T>& network, const Array<T>& x,
                         const Array<T>& coefficients, const Array<T>& vectors, Array<T>& out,
                         int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const auto samples = input_matrix<T>(x, network.get().input_width, "X");
  const auto u = input_matrix<T>(coefficients, network.outputs(), "coefficients");
  if (u.rows != samples.rows) throw bad_argument("coefficients", "one row for each sample");
  const Index parameters = parameter_count(network.get(), network.get().readouts.front());
  const auto v = input_matrix<T>(vectors, parameters, "vectors");
  const auto result = output_matrix<T>(out, v.rows, parameters, "out");
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  hessian_products(device, network.get(), samples, u, v, result, on_progress);
}

template <class T>
void register_hessian(py::module_& module) {
  module.def("hessian_products", &py_hessian_products<T>, py::arg("network"),
             py::arg("X").noconvert(), py::arg("coefficients").noconvert(),
             py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
             py::arg("monitor"));
}

}  // namespace fastntk::python
