// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "array_args.hpp"
#include "borrowed_blas.hpp"
#include "fastntk/host.hpp"

// The extension module fastntk._core: registers, validates once, releases the GIL, calls, returns.
namespace fastntk::python {

namespace {

Activation activation_named(const std::string& name) {
  static const std::map<std::string, Activation> known = {{"identity", Activation::identity},
                                                          {"relu", Activation::relu}};
  const auto found = known.find(name);
  if (found == known.end()) throw bad_argument("activation", "'identity' or 'relu'");
  return found->second;
}

// A network together with the arrays that hold its weights.
template <class T>
class PyNetwork {
 public:
  struct PyLayer {
    Array<T> weights;
    std::optional<Array<T>> bias;
    double weight_scale;
    double bias_scale;
  };

  PyNetwork(Index input_width, const std::string& activation, double activation_scale) {
    network_.input_width = input_width;
    network_.activation = activation_named(activation);
    network_.activation_scale = activation_scale;
  }

  void add_hidden(const PyLayer& layer) {
    network_.hidden.push_back(keep(layer, network_.width(network_.depth())));
  }

  void add_readout(Index depth, const PyLayer& layer) {
    if (depth < 0 || depth > network_.depth()) throw bad_argument("depth", "a layer that exists");
    Layer<T> kept = keep(layer, network_.width(depth));
    if (!network_.readouts.empty() && kept.outputs() != network_.readouts.front().layer.outputs()) {
      throw bad_argument("weights", "as many outputs as the other readouts have");
    }
    network_.readouts.push_back({depth, kept});
  }

  const Network<T>& get() const {
    if (network_.readouts.empty()) throw bad_argument("network", "at least one readout");
    return network_;
  }
  Index outputs() const { return get().readouts.front().layer.outputs(); }

 private:
  Layer<T> keep(const PyLayer& layer, Index inputs) {
    Layer<T> result;
    result.weights = input_matrix<T>(layer.weights, inputs, "weights");
    result.weight_scale = layer.weight_scale;
    arrays_.push_back(layer.weights);
    if (layer.bias) {
      result.bias = input_vector<T>(*layer.bias, result.outputs(), "bias");
      result.bias_scale = layer.bias_scale;
      arrays_.push_back(*layer.bias);
    }
    return result;
  }

  Network<T> network_;
  std::vector<py::object> arrays_;
};

// Lets Ctrl-C and the user's progress callback reach the work from the thread that waits for it.
Monitor python_monitor(const py::object& callback) {
  // The callback is owned by the caller's frame, which outlives the call.
  return [callback = py::handle(callback)](const char* stage, Index done, Index total) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!callback.is_none()) callback(stage, done, total);
  };
}

HostDevice host_device(int threads) {
  static const Blas blas = borrow_blas();
  if (threads < 1) throw bad_argument("threads", "at least 1");
  return {blas, threads};
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
void py_gradient_features(const PyNetwork<T>& network, Index output, const Array<T>& x,
                          Array<T>& out, int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const auto samples = input_matrix<T>(x, network.get().input_width, "X");
  if (output < 0 || output >= network.outputs()) throw bad_argument("output", "one that exists");
  const Index parameters = parameter_count(network.get(), network.get().readouts.front());
  const auto features = output_matrix<T>(out, samples.rows, parameters, "out");
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  gradient_features(device, network.get(), output, samples, features, on_progress);
}

template <class T, class G>
void py_ntk(const PyNetwork<T>& network, std::pair<Index, Index> outputs, const Array<T>& x,
            const std::optional<Array<T>>& z, std::vector<Array<G>> out, int threads,
            const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const Index width = network.get().input_width;
  const auto rows = input_matrix<T>(x, width, "X");
  std::optional<Matrix<const T>> cols;
  if (z) cols = input_matrix<T>(*z, width, "Z");
  const Range range{outputs.first, outputs.second};
  if (range.first < 0 || range.count < 1 || range.first + range.count > network.outputs()) {
    throw bad_argument("outputs", "a range of outputs that exist");
  }
  if (out.size() != network.get().readouts.size()) {
    throw bad_argument("out", "one array for each readout");
  }
  std::vector<Matrix<G>> kernels;
  kernels.reserve(out.size());
  for (Array<G>& kernel : out) {
    kernels.push_back(output_matrix<G>(kernel, rows.rows, cols ? cols->rows : rows.rows, "out"));
  }
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  ntk(device, network.get(), range, rows, cols, kernels, on_progress);
}

template <class T>
void register_precision(py::module_& module, const char* name) {
  using Class = PyNetwork<T>;
  py::class_<Class>(module, name)
      .def(py::init<Index, const std::string&, double>(), py::kw_only(), py::arg("input_width"),
           py::arg("activation"), py::arg("activation_scale"))
      .def(
          "add_hidden",
          [](Class& self, const Array<T>& weights, const std::optional<Array<T>>& bias,
             double weight_scale,
             double bias_scale) { self.add_hidden({weights, bias, weight_scale, bias_scale}); },
          py::arg("weights").noconvert(), py::arg("bias").noconvert(), py::arg("weight_scale"),
          py::arg("bias_scale"))
      .def(
          "add_readout",
          [](Class& self, Index depth, const Array<T>& weights, const std::optional<Array<T>>& bias,
             double weight_scale, double bias_scale) {
            self.add_readout(depth, {weights, bias, weight_scale, bias_scale});
          },
          py::arg("depth"), py::arg("weights").noconvert(), py::arg("bias").noconvert(),
          py::arg("weight_scale"), py::arg("bias_scale"));

  module.def("evaluate", &py_evaluate<T>, py::arg("network"), py::arg("X").noconvert(),
             py::arg("out").noconvert(), py::arg("threads"), py::arg("monitor"));
  module.def("gradient_features", &py_gradient_features<T>, py::arg("network"), py::arg("output"),
             py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
             py::arg("monitor"));
  const auto register_ntk = [&](auto function) {
    module.def("ntk", function, py::arg("network"), py::arg("outputs"), py::arg("X").noconvert(),
               py::arg("Z").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
               py::arg("monitor"));
  };
  register_ntk(&py_ntk<T, float>);
  register_ntk(&py_ntk<T, double>);
}

}  // namespace

}  // namespace fastntk::python

PYBIND11_MODULE(_core, module) {
  namespace fp = fastntk::python;
  module.doc() = "The numerical core of fastntk.";
  fp::borrow_blas();  // an unusable BLAS is an ImportError here, not a surprise later
  fp::register_precision<float>(module, "Network32");
  fp::register_precision<double>(module, "Network64");
  module.def("instruction_set", &fastntk::instruction_set,
             "The version of the elementwise loops that this processor runs.");
}
