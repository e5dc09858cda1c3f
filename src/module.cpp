// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "array_args.hpp"
#include "borrowed_blas.hpp"
#include "fastntk/host.hpp"
#include "py_device.hpp"
#include "py_features.hpp"
#include "py_hessian.hpp"
#include "py_network.hpp"
#include "py_symmetric.hpp"
#include "py_training.hpp"

#ifdef FASTNTK_CUDA
#include "fastntk/cuda/cuda_device.hpp"
#endif

// The extension module fastntk._core: registers, validates once, releases the GIL, calls, returns.
namespace fastntk::python {

namespace {

Split split_named(const std::string& name) {
  static const std::map<std::string, Split> known = {{"none", Split::none},
                                                     {"layers", Split::layers},
                                                     {"outputs", Split::outputs},
                                                     {"output_pairs", Split::output_pairs}};
  const auto found = known.find(name);
  if (found == known.end()) throw bad_argument("split", "one that the core has");
  return found->second;
}

template <class T>
void py_evaluate(const PyNetwork<T>& network, const Array<T>& x, Array<T>& out, int threads,
                 const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const auto samples = input_matrix<T>(x, network.get().input_width, "X");
  const auto f = output_matrix<T>(out, samples.rows, network.outputs(), "out");
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  evaluate(device, network.get(), samples, f, on_progress);
}

template <class T>
void py_input_jacobians(const PyNetwork<T>& network, const Array<T>& x, std::vector<Array<T>> out,
                        int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const Index width = network.get().input_width;
  const auto samples = input_matrix<T>(x, width, "X");
  if (static_cast<Index>(out.size()) != network.outputs()) {
    throw bad_argument("out", "one array for each output");
  }
  std::vector<Matrix<T>> jacobians;
  jacobians.reserve(out.size());
  for (Array<T>& jacobian : out) {
    jacobians.push_back(output_matrix<T>(jacobian, samples.rows, width, "out"));
  }
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  input_jacobians(device, network.get(), samples, jacobians, on_progress);
}

template <class T>
void py_gradient_features(const PyNetwork<T>& network, Index output, const Array<T>& x,
                          Array<T>& out, int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const auto samples = input_matrix<T>(x, network.get().input_width, "X");
  network.output_range(output, 1);
  const Index parameters = parameter_count(network.get(), network.get().readouts.front());
  const auto features = output_matrix<T>(out, samples.rows, parameters, "out");
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  gradient_features(device, network.get(), output, samples, features, on_progress);
}

template <class T, class G>
void py_ntk(const PyNetwork<T>& network, std::pair<Index, Index> outputs, const std::string& split,
            const Array<T>& x, const std::optional<Array<T>>& z, std::vector<Array<G>> out,
            int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const Index width = network.get().input_width;
  const auto rows = input_matrix<T>(x, width, "X");
  std::optional<Matrix<const T>> cols;
  if (z) cols = input_matrix<T>(*z, width, "Z");
  const Range range = network.output_range(outputs.first, outputs.second);
  const Split by = split_named(split);
  if (out.size() != kernel_count(network.get(), range, by)) {
    throw bad_argument("out", "one array for each kernel");
  }
  std::vector<Matrix<G>> kernels;
  kernels.reserve(out.size());
  for (Array<G>& kernel : out) {
    kernels.push_back(output_matrix<G>(kernel, rows.rows, cols ? cols->rows : rows.rows, "out"));
  }
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  ntk(device, network.get(), range, by, rows, cols, kernels, on_progress);
}

template <class T>
std::vector<T> py_pair_angles(const PyNetwork<T>& network, std::pair<Index, Index> outputs,
                              const Array<T>& x, const std::vector<std::pair<Index, Index>>& pairs,
                              int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const auto samples = input_matrix<T>(x, network.get().input_width, "X");
  const Range range = network.output_range(outputs.first, outputs.second);
  for (const auto& [i, j] : pairs) {
    if (i < 0 || j < 0 || i >= samples.rows || j >= samples.rows) {
      throw bad_argument("pairs", "rows of X");
    }
  }
  const Monitor on_progress = python_monitor(monitor);
  std::vector<T> angles(pairs.size());
  const py::gil_scoped_release no_gil;
  pair_angles(device, network.get(), range, samples, pairs, angles, on_progress);
  return angles;
}

template <class T>
void register_network(py::module_& module, const char* name) {
  using Class = PyNetwork<T>;
  using Weights = std::pair<double, double>;
  py::class_<Class> result(module, name);
  result
      .def(py::init([](Index input_width, const std::string& activation,
                       std::array<double, 2> parameters, std::uintptr_t function,
                       std::uintptr_t derivative, double activation_scale) {
             return Class(input_width,
                          activation_named(activation, parameters, function, derivative),
                          activation_scale);
           }),
           py::kw_only(), py::arg("input_width"), py::arg("activation"), py::arg("parameters"),
           py::arg("function"), py::arg("derivative"), py::arg("activation_scale"))
      .def(
          "add_hidden",
          [](Class& self, const Array<T>& weights, const std::optional<Array<T>>& bias,
             double weight_scale, double bias_scale, Weights kernel_weights) {
            self.add_hidden({weights, bias, weight_scale, bias_scale, kernel_weights.first,
                             kernel_weights.second});
          },
          py::arg("weights").noconvert(), py::arg("bias").noconvert(), py::arg("weight_scale"),
          py::arg("bias_scale"), py::arg("kernel_weights"))
      .def(
          "add_readout",
          [](Class& self, Index depth, const Array<T>& weights, const std::optional<Array<T>>& bias,
             double weight_scale, double bias_scale, Weights kernel_weights) {
            self.add_readout(depth, {weights, bias, weight_scale, bias_scale, kernel_weights.first,
                                     kernel_weights.second});
          },
          py::arg("depth"), py::arg("weights").noconvert(), py::arg("bias").noconvert(),
          py::arg("weight_scale"), py::arg("bias_scale"), py::arg("kernel_weights"));
}

template <class T>
void register_functions(py::module_& module) {
  module.def("evaluate", &py_evaluate<T>, py::arg("network"), py::arg("X").noconvert(),
             py::arg("out").noconvert(), py::arg("threads"), py::arg("monitor"));
  module.def("input_jacobians", &py_input_jacobians<T>, py::arg("network"),
             py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
             py::arg("monitor"));
  module.def("gradient_features", &py_gradient_features<T>, py::arg("network"), py::arg("output"),
             py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
             py::arg("monitor"));
  module.def("pair_angles", &py_pair_angles<T>, py::arg("network"), py::arg("outputs"),
             py::arg("X").noconvert(), py::arg("pairs"), py::arg("threads"), py::arg("monitor"));
}

// T: the network's precision; G: that of the features and the Gram matrices.
template <class T, class G>
void register_gram(py::module_& module, const char* features_name) {
  module.def("ntk", &py_ntk<T, G>, py::arg("network"), py::arg("outputs"), py::arg("split"),
             py::arg("X").noconvert(), py::arg("Z").noconvert(), py::arg("out").noconvert(),
             py::arg("threads"), py::arg("monitor"));

  using Class = PyFeatures<T, G>;
  py::class_<Class>(module, features_name)
      .def(py::init([](const PyNetwork<T>& network, std::pair<Index, Index> outputs,
                       const Array<T>& x, int threads, const py::object& monitor) {
             return Class(network, network.output_range(outputs.first, outputs.second), x, threads,
                          monitor);
           }),
           py::keep_alive<1, 2>(), py::arg("network"), py::arg("outputs"), py::arg("X").noconvert(),
           py::arg("threads"), py::arg("monitor"))
      .def_property_readonly("rows", &Class::rows)
      .def("kernel", &Class::kernel, py::arg("other"), py::arg("rows"), py::arg("cols"),
           py::arg("out").noconvert(), py::arg("threads"), py::arg("monitor"))
      .def("packed_kernel", &Class::packed_kernel, py::arg("out").noconvert(), py::arg("threads"),
           py::arg("monitor"))
      .def("closest_pairs", &Class::closest_pairs, py::arg("k"), py::arg("threads"),
           py::arg("monitor"))
      .def("transposed_products", &Class::transposed_products, py::arg("output"),
           py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
           py::arg("monitor"))
      .def("products", &Class::products, py::arg("output"), py::arg("weighted"),
           py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
           py::arg("monitor"));
}

}  // namespace

}  // namespace fastntk::python

PYBIND11_MODULE(_core, module) {
  namespace fp = fastntk::python;
  module.doc() = "The numerical core of fastntk.";
  fp::borrow_blas();  // an unusable BLAS is an ImportError here, not a surprise later
  fp::register_network<float>(module, "Network32");
  fp::register_network<double>(module, "Network64");
  fp::register_functions<float>(module);
  fp::register_functions<double>(module);
  fp::register_hessian<float>(module);
  fp::register_hessian<double>(module);
  fp::register_gram<float, float>(module, "Features32Of32");
  fp::register_gram<float, double>(module, "Features64Of32");
  fp::register_gram<double, float>(module, "Features32Of64");
  fp::register_gram<double, double>(module, "Features64Of64");
  fp::register_symmetric(module);
  fp::register_training<float>(module, "TrainedLayer32");
  fp::register_training<double>(module, "TrainedLayer64");
  module.def("instruction_set", &fastntk::instruction_set,
             "The version of the elementwise loops that this processor runs.");
#ifdef FASTNTK_CUDA
  module.attr("cuda_runtime") = fastntk::cuda_runtime_version();
#else
  module.attr("cuda_runtime") = 0;
#endif
}
