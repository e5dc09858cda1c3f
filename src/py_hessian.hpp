// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <array>
#include <vector>

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

// Fills H, c_φ φ', Δ and c_φ φ'' ∘ U of the hidden layers, each a list of (samples, n_l); see
// hessian_products.hpp.
template <class T>
void py_passes_with_curvature(const PyNetwork<T>& network, const Array<T>& x,
                              const Array<T>& coefficients,
                              std::array<std::vector<Array<T>>, 4> passes, int threads,
                              const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const Network<T>& net = network.get();
  const auto samples = input_matrix<T>(x, net.input_width, "X");
  const auto u = input_matrix<T>(coefficients, network.outputs(), "coefficients");
  if (u.rows != samples.rows) throw bad_argument("coefficients", "one row for each sample");
  const auto views = [&](std::vector<Array<T>>& arrays) {
    if (static_cast<Index>(arrays.size()) != net.readouts.front().depth) {
      throw bad_argument("passes", "one array for each hidden layer");
    }
    std::vector<Matrix<T>> result(1);
    for (Array<T>& array : arrays) {
      const Index width = net.width(static_cast<Index>(result.size()));
      result.push_back(output_matrix<T>(array, samples.rows, width, "passes"));
    }
    return result;
  };
  auto& [activations, slopes, deltas, bends] = passes;
  const CurvedPasses<T> result{views(activations), views(slopes), views(deltas), views(bends)};
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  passes_with_curvature(device, net, samples, u, result, on_progress);
}

template <class T>
void register_hessian(py::module_& module) {
  module.def("hessian_products", &py_hessian_products<T>, py::arg("network"),
             py::arg("X").noconvert(), py::arg("coefficients").noconvert(),
             py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
             py::arg("monitor"));
  module.def("passes_with_curvature", &py_passes_with_curvature<T>, py::arg("network"),
             py::arg("X").noconvert(), py::arg("coefficients").noconvert(),
             py::arg("passes").noconvert(), py::arg("threads"), py::arg("monitor"));
}

}  // namespace fastntk::python
