// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "array_args.hpp"
#include "fastntk/host.hpp"
#include "fastntk/parameter_change.hpp"
#include "gil.hpp"
#include "py_device.hpp"
#include "py_network.hpp"
#include "py_wiring.hpp"

namespace fastntk::python {

inline Loss loss_named(const std::string& name) {
  static const std::map<std::string, Loss> known = {{"mse", Loss::square},
                                                    {"cross_entropy", Loss::cross_entropy}};
  const auto found = known.find(name);
  if (found == known.end()) throw bad_argument("loss", "one that the core has");
  return found->second;
}

// These are the arrays of a layer that change, all on the host: its own, which the network reads
// too, and their velocities. A device that has copies of them brings the changes back.
template <class P, class T>
struct PyTrainedLayer {
  std::optional<Array<T>> weights;
  std::optional<Array<T>> bias;
  double rate;
  double bias_rate;
  std::optional<Array<T>> velocity;
  std::optional<Array<T>> bias_velocity;
  typename P::template Copies<T> velocities;
};

template <class T>
T* column(Array<T>& array, Index rows, const std::string& name) {
  if (array.ndim() != 1 || array.shape(0) != rows) {
    throw bad_argument(name, "a vector of " + std::to_string(rows) + " elements");
  }
  return array.mutable_data();
}

// These are the layers as the device sees them, and the way back.
template <class P, class T>
class TrainedLayers {
 public:
  using Device = typename P::Device;
  using Arrays = std::vector<PyTrainedLayer<P, T>*>;

  // There is an entry for each layer.
  TrainedLayers(const Device& device, const PyNetwork<P, T>& network, const Arrays& arrays)
      : device_(device), parameters_(network.copies()) {
    const Network<T> net = linear_outputs(network.get());
    const Readout<T>& readout = net.readouts.front();
    if (net.readouts.size() != 1 || readout.depth != net.depth()) {
      throw bad_argument("network", "a single readout, on top");
    }
    require_count(arrays, net.depth() + 1);
    network.on(device);
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      add(k < net.hidden.size() ? net.hidden[k] : readout.layer, *arrays[k]);
    }
    require_one();
  }

  // There is an entry for each map, of its weights and its bias, and for each step with a gain or a
  // shift, of these.
  TrainedLayers(const Device& device, const PyWiring<P, T>& network, const Arrays& arrays)
      : device_(device), parameters_(network.copies()) {
    const wired::Wiring<T>& wiring = network.get();
    if (!wiring.before_last.empty()) throw bad_argument("network", "outputs of a single depth");
    require_count(arrays, static_cast<Index>(wired::kernel_layers(wiring).size()));
    network.on(device);
    auto next = arrays.begin();
    for (const wired::Step<T>& step : wiring.steps) {
      if (const auto* const linear = std::get_if<wired::Linear<T>>(&step.operation)) {
        add(linear->layer, **next++);
      } else if (const auto* const both = std::get_if<wired::GainShift<T>>(&step.operation)) {
        add(*both, **next++);
      }
    }
    require_one();
  }

  const std::vector<TrainedLayer<T>>& get() const { return layers_; }

  void read_back() const {
    for (const auto& [copies, host] : changing_) copies->read_back(device_, host);
  }

 private:
  using Copies = typename P::template Copies<T>;

  static void require_count(const Arrays& arrays, Index layers) {
    if (static_cast<Index>(arrays.size()) != layers) {
      throw bad_argument("layers", "one entry for each layer");
    }
  }
  void require_one() const {
    if (std::ranges::none_of(layers_, [](const auto& layer) { return layer.any(); })) {
      throw bad_argument("layers", "at least one that is trained");
    }
  }

  void add(const Layer<T>& layer, PyTrainedLayer<P, T>& arrays) {
    const Index rows = layer.outputs();
    const Index cols = layer.inputs();
    TrainedLayer<T> result;
    result.rate = arrays.rate;
    if (arrays.weights) {
      T* const host = output_matrix<T>(*arrays.weights, rows, cols, "weights").data;
      if (host != layer.weights.data) {
        throw bad_argument("weights", "the array that the network has");
      }
      result.weights = {changing(parameters_, host), rows, cols};
    }
    if (arrays.velocity) {
      T* const host = output_matrix<T>(*arrays.velocity, rows, cols, "velocity").data;
      result.velocity = velocity(arrays, host, rows, cols);
    }
    add_vector(result, layer, arrays.bias, arrays.bias_rate, arrays, arrays.bias_velocity);
  }

  // The core has each of them as a layer without weights.
  void add(const wired::GainShift<T>& both, PyTrainedLayer<P, T>& arrays) {
    if (both.gain.bias != nullptr) {
      add_vector({}, both.gain, arrays.weights, arrays.rate, arrays, arrays.velocity);
    }
    if (both.shift.bias != nullptr) {
      add_vector({}, both.shift, arrays.bias, arrays.bias_rate, arrays, arrays.bias_velocity);
    }
  }

  // Adds a layer with what changes of its bias.
  void add_vector(TrainedLayer<T> result, const Layer<T>& layer,
                  std::optional<Array<T>>& parameters, double rate, PyTrainedLayer<P, T>& arrays,
                  std::optional<Array<T>>& moving) {
    const Index rows = layer.outputs();
    result.bias_rate = rate;
    if (parameters) {
      T* const host = column(*parameters, rows, "bias");
      if (host != layer.bias) throw bad_argument("bias", "the array that the network has");
      result.bias = {changing(parameters_, host), rows, 1};
    }
    if (moving) {
      result.bias_velocity = velocity(arrays, column(*moving, rows, "bias_velocity"), rows, 1);
    }
    layers_.push_back(result);
  }

  Matrix<T> velocity(PyTrainedLayer<P, T>& arrays, T* host, Index rows, Index cols) {
    arrays.velocities.add(device_, host, rows, cols);
    return {changing(arrays.velocities, host), rows, cols};
  }

  T* changing(const Copies& copies, T* host) {
    changing_.emplace_back(&copies, host);
    return copies.writable(host);
  }

  const Device& device_;
  const Copies& parameters_;
  std::vector<TrainedLayer<T>> layers_;
  std::vector<std::pair<const Copies*, T*>> changing_;
};

// Returns the activation of the outputs that linear_outputs() are without.
template <class T>
OutputActivation output_activation_of(const Network<T>& network) {
  return network.output_activation;
}
template <class T>
OutputActivation output_activation_of(const wired::Wiring<T>& /*wiring*/) {
  return {};
}

// Passes over the samples once; returns the squared norm of the last gradient, and the mean losses
// of the first batch and of that with the largest.
template <class P, class T, class AnyNetwork>
std::tuple<double, double, double> py_sgd(
    const AnyNetwork& network, const std::vector<PyTrainedLayer<P, T>*>& arrays,
    const std::string& loss, Index batch, double momentum, bool measure_gradient,
    const typename P::template Array<T>& x, const typename P::template Array<T>& y,
    const std::optional<Array<Index>>& order, Array<double>& outcomes,
    const typename P::Where& where, const ProgressCallback& monitor) {
  using Device = typename P::Device;
  const Device device = P::device(where);
  const TrainedLayers<P, T> layers(device, network, arrays);
  const auto samples = P::template input<T>(device, x, network.get().input_width, "X");
  const auto targets = P::template input<T>(device, y, network.outputs(), "y");
  if (targets.rows != samples.rows) throw bad_argument("y", "one row for each sample");
  typename P::template Copies<Index> indices;
  const Index* device_indices = nullptr;
  Index count = samples.rows;
  if (order) {
    count = order->ndim() == 1 ? order->shape(0) : 0;
    const auto* const first = input_vector<Index>(*order, count, "order");
    const auto missing = [&](Index i) { return i < 0 || i >= samples.rows; };
    if (count == 0 || std::any_of(first, first + count, missing)) {
      throw bad_argument("order", "rows of X");
    }
    device_indices = indices.add(device, first, count, 1);
  }
  // There may be fewer in the order: the last batch of an epoch, in a call of its own.
  if (batch < 1 || batch > samples.rows) {
    throw bad_argument("batch", "at least 1, at most the samples");
  }
  const auto results = output_matrix<double>(outcomes, count, 2, "outcomes");
  const Monitor on_progress = python_monitor(monitor);
  const SgdOptions options{loss_named(loss), batch, momentum, measure_gradient,
                           output_activation_of(network.get())};
  const WithoutLock no_lock;
  try {
    const double square = P::with_host_result(device, results, [&](const Matrix<double>& rows) {
      return sgd(device, linear_outputs(network.on(device)), layers.get(), options, samples,
                 targets, device_indices, rows, on_progress);
    });
    layers.read_back();
    const BatchLosses losses = batch_losses(results, batch);
    return {square, losses.first, losses.largest};
  } catch (...) {
    layers.read_back();  // the steps that were taken
    throw;
  }
}

// Computes the loss of each row of f, which is left with its gradient.
template <class P, class T>
void py_evaluate_loss(const std::string& loss, const typename P::template Array<T>& y,
                      typename P::template Array<T>& f, Array<double>& outcomes,
                      const typename P::Where& where, const ProgressCallback& monitor) {
  const auto device = P::device(where);
  const auto targets = P::template input<T>(device, y, P::cols_of(y), "y");
  const Matrix<T> gradient = P::template output<T>(device, f, targets.rows, targets.cols, "f");
  const auto results = output_matrix<double>(outcomes, gradient.rows, 2, "outcomes");
  const Loss rule = loss_named(loss);
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  P::with_host_result(device, results, [&](const Matrix<double>& rows) {
    evaluate_loss(device, rule, targets, gradient, rows, on_progress);
    return 0;
  });
}

// Returns ‖now − then‖² and the largest |now − then| of all elements of these arrays.
template <class T>
std::pair<double, double> py_parameter_change(const std::vector<Array<T>>& now,
                                              const std::vector<Array<T>>& then) {
  if (now.size() != then.size()) throw bad_argument("then", "as many arrays as now");
  std::vector<ChangedParameters<T>> arrays;
  arrays.reserve(now.size());
  for (std::size_t k = 0; k < now.size(); ++k) {
    if (now[k].size() != then[k].size()) throw bad_argument("then", "arrays of the sizes of now");
    arrays.push_back({now[k].data(), then[k].data(), now[k].size()});
  }
  const WithoutLock no_lock;
  const ParameterChange change = parameter_change(arrays);
  return {change.square, change.largest};
}

// Returns the means of the two columns of outcomes: each sum in the order of the rows.
inline std::pair<double, double> py_mean_outcomes(const Array<double>& outcomes) {
  const Matrix<const double> rows = input_matrix<double>(outcomes, 2, "outcomes");
  double loss = 0.0;
  double recognized = 0.0;
  for (Index i = 0; i < rows.rows; ++i) {
    loss += rows(i, 0);
    recognized += rows(i, 1);
  }
  const auto count = static_cast<double>(rows.rows);
  return {loss / count, recognized / count};
}

template <class T>
void register_parameter_change(py::module_& module) {
  module.def("parameter_change", &py_parameter_change<T>, py::arg("now").noconvert(),
             py::arg("then").noconvert(),
             "‖now − then‖² and the largest |now − then| of all elements of two lists of arrays.");
}

template <class P, class T, class AnyNetwork>
void register_sgd(py::module_& module) {
  module.def(
      "sgd", &py_sgd<P, T, AnyNetwork>, py::call_guard<typename P::Guard>(), py::arg("network"),
      py::arg("layers"), py::arg("loss"), py::arg("batch"), py::arg("momentum"),
      py::arg("measure_gradient"), py::arg("X").noconvert(), py::arg("y").noconvert(),
      py::arg("order").noconvert(), py::arg("outcomes").noconvert(), py::arg(P::kWhere),
      py::arg("monitor"),
      "Takes a step for each batch of the samples X (n, d) with targets y (n, C), in the "
      "order (m,) of their indices, or of all. A row of outcomes (m, 2) gets the loss of a "
      "sample before its step, and whether it was recognized. Returns ‖gradient‖² of the "
      "last batch if it is to be measured, the mean loss of the first batch, and the largest "
      "of a batch.");
}

template <class P, class T>
void register_training(py::module_& module, const char* layer_name) {
  using Layer = PyTrainedLayer<P, T>;
  using Optional = std::optional<Array<T>>;
  using Guard = py::call_guard<typename P::Guard>;
  py::class_<Layer>(
      module, layer_name,
      "What changes of a layer: its arrays, those that the network has, or None where they stay as "
      "they are; the rates; and velocities where there is momentum. Of a step with a gain and a "
      "shift, these stand for weights and bias.")
      .def(py::init([](const Optional& weights, const Optional& bias, double rate, double bias_rate,
                       const Optional& velocity, const Optional& bias_velocity) {
             return Layer{weights, bias, rate, bias_rate, velocity, bias_velocity, {}};
           }),
           py::arg("weights").noconvert(), py::arg("bias").noconvert(), py::arg("rate"),
           py::arg("bias_rate"), py::arg("velocity").noconvert(),
           py::arg("bias_velocity").noconvert());
  register_sgd<P, T, PyNetwork<P, T>>(module);
  register_sgd<P, T, PyWiring<P, T>>(module);
  module.def("evaluate_loss", &py_evaluate_loss<P, T>, Guard(), py::arg("loss"),
             py::arg("y").noconvert(), py::arg("f").noconvert(), py::arg("outcomes").noconvert(),
             py::arg(P::kWhere), py::arg("monitor"),
             "A row of outcomes (n, 2) gets the loss of a sample, and whether it was recognized; f "
             "(n, C) is left with the gradient of the loss.");
}

}  // namespace fastntk::python
