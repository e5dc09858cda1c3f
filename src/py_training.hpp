// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "array_args.hpp"
#include "fastntk/host.hpp"
#include "py_device.hpp"
#include "py_network.hpp"

namespace fastntk::python {

inline Loss loss_named(const std::string& name) {
  static const std::map<std::string, Loss> known = {{"mse", Loss::square},
                                                    {"cross_entropy", Loss::cross_entropy}};
  const auto found = known.find(name);
  if (found == known.end()) throw bad_argument("loss", "one that the core has");
  return found->second;
}

// The arrays of a layer that change: its own, which the network reads too, and their velocities.
template <class T>
struct PyTrainedLayer {
  std::optional<Array<T>> weights;
  std::optional<Array<T>> bias;
  double rate;
  double bias_rate;
  std::optional<Array<T>> velocity;
  std::optional<Array<T>> bias_velocity;
};

template <class T>
Matrix<T> column(Array<T>& array, Index rows, const std::string& name) {
  if (array.ndim() != 1 || array.shape(0) != rows) {
    throw bad_argument(name, "a vector of " + std::to_string(rows) + " elements");
  }
  return {array.mutable_data(), rows, 1};
}

template <class T>
TrainedLayer<T> trained_layer(const Layer<T>& layer, PyTrainedLayer<T>& arrays) {
  const Index rows = layer.outputs();
  const Index cols = layer.inputs();
  TrainedLayer<T> result;
  result.rate = arrays.rate;
  result.bias_rate = arrays.bias_rate;
  if (arrays.weights) {
    result.weights = output_matrix<T>(*arrays.weights, rows, cols, "weights");
    if (result.weights.data != layer.weights.data) {
      throw bad_argument("weights", "the array that the network has");
    }
  }
  if (arrays.bias) {
    result.bias = column(*arrays.bias, rows, "bias");
    if (result.bias.data != layer.bias) {
      throw bad_argument("bias", "the array that the network has");
    }
  }
  if (arrays.velocity) result.velocity = output_matrix<T>(*arrays.velocity, rows, cols, "velocity");
  if (arrays.bias_velocity) {
    result.bias_velocity = column(*arrays.bias_velocity, rows, "bias_velocity");
  }
  return result;
}

// One pass over the samples; returns the squared norm of the last gradient.
template <class T>
double py_sgd(const PyNetwork<T>& network, std::vector<PyTrainedLayer<T>> arrays,
              const std::string& loss, Index batch, double momentum, bool measure_gradient,
              const Array<T>& x, const Array<T>& y, const std::optional<Array<Index>>& order,
              Array<double>& outcomes, int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  const Network<T>& net = network.get();
  const Readout<T>& readout = net.readouts.front();
  if (net.readouts.size() != 1 || readout.depth != net.depth()) {
    throw bad_argument("network", "a single readout, on top");
  }
  if (static_cast<Index>(arrays.size()) != net.depth() + 1) {
    throw bad_argument("layers", "one entry for each layer");
  }
  std::vector<TrainedLayer<T>> layers;
  layers.reserve(arrays.size());
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    layers.push_back(
        trained_layer(k < net.hidden.size() ? net.hidden[k] : readout.layer, arrays[k]));
  }
  if (std::ranges::none_of(layers, [](const auto& layer) { return layer.any(); })) {
    throw bad_argument("layers", "at least one that is trained");
  }
  const auto samples = input_matrix<T>(x, net.input_width, "X");
  const auto targets = input_matrix<T>(y, network.outputs(), "y");
  if (targets.rows != samples.rows) throw bad_argument("y", "one row for each sample");
  const Index* indices = nullptr;
  Index count = samples.rows;
  if (order) {
    count = order->ndim() == 1 ? order->shape(0) : 0;
    indices = input_vector<Index>(*order, count, "order");
    if (std::any_of(indices, indices + count,
                    [&](Index i) { return i < 0 || i >= samples.rows; })) {
      throw bad_argument("order", "rows of X");
    }
  }
  if (batch < 1 || batch > count) throw bad_argument("batch", "at least 1, at most the samples");
  const auto results = output_matrix<double>(outcomes, count, 2, "outcomes");
  const Monitor on_progress = python_monitor(monitor);
  const SgdOptions options{loss_named(loss), batch, momentum, measure_gradient};
  const py::gil_scoped_release no_gil;
  return sgd(device, net, layers, options, samples, targets, indices, results, on_progress);
}

// The loss of each row of f, which is left with its gradient.
template <class T>
void py_evaluate_loss(const std::string& loss, const Array<T>& y, Array<T>& f,
                      Array<double>& outcomes, int threads, const py::object& monitor) {
  const HostDevice device = host_device(threads);
  if (f.ndim() != 2) throw bad_argument("f", "a matrix");
  const Matrix<T> gradient = output_matrix<T>(f, f.shape(0), f.shape(1), "f");
  const auto targets = input_matrix<T>(y, gradient.cols, "y");
  if (targets.rows != gradient.rows) throw bad_argument("y", "one row for each sample");
  const auto results = output_matrix<double>(outcomes, gradient.rows, 2, "outcomes");
  const Loss rule = loss_named(loss);
  const Monitor on_progress = python_monitor(monitor);
  const py::gil_scoped_release no_gil;
  evaluate_loss(device, rule, targets, gradient, results, on_progress);
}

template <class T>
void register_training(py::module_& module, const char* layer_name) {
  using Layer = PyTrainedLayer<T>;
  using Optional = std::optional<Array<T>>;
  py::class_<Layer>(module, layer_name)
      .def(py::init([](const Optional& weights, const Optional& bias, double rate, double bias_rate,
                       const Optional& velocity, const Optional& bias_velocity) {
             return Layer{weights, bias, rate, bias_rate, velocity, bias_velocity};
           }),
           py::arg("weights").noconvert(), py::arg("bias").noconvert(), py::arg("rate"),
           py::arg("bias_rate"), py::arg("velocity").noconvert(),
           py::arg("bias_velocity").noconvert());
  module.def("sgd", &py_sgd<T>, py::arg("network"), py::arg("layers"), py::kw_only(),
             py::arg("loss"), py::arg("batch"), py::arg("momentum"), py::arg("measure_gradient"),
             py::arg("X").noconvert(), py::arg("y").noconvert(), py::arg("order").noconvert(),
             py::arg("outcomes").noconvert(), py::arg("threads"), py::arg("monitor"));
  module.def("evaluate_loss", &py_evaluate_loss<T>, py::arg("loss"), py::arg("y").noconvert(),
             py::arg("f").noconvert(), py::arg("outcomes").noconvert(), py::arg("threads"),
             py::arg("monitor"));
}

}  // namespace fastntk::python
