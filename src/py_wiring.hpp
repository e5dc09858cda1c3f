// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "fastntk/wired/wiring.hpp"
#include "py_network.hpp"

namespace fastntk::python {

// This is a network of steps together with the arrays of the host that hold its parameters. P is
// OnHost or OnGpu.
template <class P, class T>
class PyWiring {
 public:
  using Device = typename P::Device;

  explicit PyWiring(Index input_width) : wiring_(input_width) {
    if (input_width < 1) throw bad_argument("input_width", "at least 1");
  }

  // Each adds a step, and returns the node that it makes.
  std::size_t add_linear(std::size_t source, const PyLayer<T>& layer) {
    return add(source, wired::Linear<T>{layer.keep(width(source, "source"), arrays_)});
  }
  std::size_t add_activation(std::size_t source, const Activation& phi, double scale) {
    return add(source, wired::Activate{phi, scale});
  }
  std::size_t add_sum(std::size_t source, std::size_t branch, double scale) {
    if (width(branch, "branch") != width(source, "source")) {
      throw bad_argument("branch", "a node as wide as the other");
    }
    return add(source, wired::Add{branch, scale});
  }
  std::size_t add_normalization(std::size_t source, bool centred, double epsilon) {
    if (!(epsilon >= 0.0)) throw bad_argument("epsilon", "at least 0");
    // A single unit is nothing but its sign without ε, and 0 without its mean.
    if (width(source, "source") < 2 && (centred || epsilon == 0.0)) {
      throw bad_argument("source", "a node of at least two units");
    }
    return add(source, wired::Normalize{centred, epsilon});
  }
  std::size_t add_gain_shift(std::size_t source, const std::optional<Array<T>>& gain,
                             const std::optional<Array<T>>& shift,
                             std::pair<double, double> kernel_weights) {
    if (!gain && !shift) throw bad_argument("gain", "one, or a shift");
    const Index units = width(source, "source");
    const auto keep = [&](const std::optional<Array<T>>& array, const char* name, double omega) {
      if (!array) return wired::vector_layer<T>(nullptr, units, omega);
      arrays_.push_back(*array);
      return wired::vector_layer<T>(input_vector<T>(*array, units, name), units, omega);
    };
    return add(source, wired::GainShift<T>{keep(gain, "gain", kernel_weights.first),
                                           keep(shift, "shift", kernel_weights.second)});
  }

  // Has the last node be outputs, as those of a network that shares steps with others.
  void end_network() {
    if (wiring_.top() == 0) throw bad_argument("network", "at least one step");
    wiring_.before_last.push_back(wiring_.top());
  }

  // Returns the network with its parameters on the host.
  const wired::Wiring<T>& get() const {
    if (wiring_.top() == 0) throw bad_argument("network", "at least one step");
    for (std::size_t node = 1; node < wiring_.top(); ++node) {
      const bool ends = std::ranges::binary_search(wiring_.before_last, node);
      if (is_read_[node] == ends) {
        throw bad_argument("network", "nodes that are outputs or that a step reads");
      }
      if (ends && wiring_.widths[node] != wiring_.outputs()) {
        throw bad_argument("network", "as many outputs as the others have");
      }
    }
    return wiring_;
  }
  // Returns the network with its parameters on the device; see PyNetwork.
  const wired::Wiring<T>& on(const Device& device) const {
    if constexpr (!P::kCopies) return get();
    if (!on_device_) {
      wired::Wiring<T> wiring = get();
      for (wired::Step<T>& step : wiring.steps) {
        if (auto* const linear = std::get_if<wired::Linear<T>>(&step.operation)) {
          put_on_device(device, copies_, linear->layer);
        } else if (auto* const both = std::get_if<wired::GainShift<T>>(&step.operation)) {
          put_on_device(device, copies_, both->gain);
          put_on_device(device, copies_, both->shift);
        }
      }
      on_device_ = std::move(wiring);
    }
    return *on_device_;
  }

  // Returns the parameters as the device sees them, after on().
  const typename P::template Copies<T>& copies() const { return copies_; }

  Index outputs() const { return get().outputs(); }
  // Only for a single network.
  Index parameters() const {
    if (!wiring_.before_last.empty()) throw bad_argument("network", "a single one");
    return get().parameters();
  }

  Range output_range(Index first, Index count) const {
    return range_of_outputs(first, count, outputs());
  }

 private:
  Index width(std::size_t node, const char* name) const {
    if (node > wiring_.top()) throw bad_argument(name, "a node that is there");
    return wiring_.widths[node];
  }
  std::size_t add(std::size_t source, wired::Operation<T> operation) {
    if (on_device_) throw bad_argument("network", "one that was not used yet");
    static_cast<void>(width(source, "source"));
    is_read_.resize(wiring_.top() + 2, false);
    is_read_[source] = true;
    if (const auto* const sum = std::get_if<wired::Add>(&operation)) is_read_[sum->branch] = true;
    wiring_.add(source, std::move(operation));
    return wiring_.top();
  }

  wired::Wiring<T> wiring_;
  std::vector<bool> is_read_;
  std::vector<py::object> arrays_;
  mutable std::optional<wired::Wiring<T>> on_device_;
  mutable typename P::template Copies<T> copies_;
};

}  // namespace fastntk::python
