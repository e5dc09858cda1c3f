// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/activation.hpp"

#include <array>
#include <span>

namespace fastntk {

namespace {

using namespace activation;  // NOLINT(google-build-using-namespace): the table is about nothing
                             // else

// NOLINTBEGIN(readability-named-parameter): what is not named is not used.
constexpr auto kNamed = std::to_array<NamedActivation>({
    {"identity", 0, [](double, double) -> Activation { return Identity{}; }},
    {"square", 0, [](double, double) -> Activation { return Square{}; }},
    {"relu", 0, [](double, double) -> Activation { return Relu{}; }},
    {"leaky_relu", 1,
     [](double negative, double) -> Activation { return PiecewiseLinear{negative, 1.0}; }},
    {"abs", 0, [](double, double) -> Activation { return PiecewiseLinear{-1.0, 1.0}; }},
    {"abrelu", 2,
     [](double negative, double positive) -> Activation {
       return PiecewiseLinear{negative, positive};
     }},
    {"rectified_monomial", 1,
     [](double degree, double) -> Activation {
       return RectifiedMonomial{static_cast<int>(degree)};
     }},
    {"gelu", 0, [](double, double) -> Activation { return Gelu{}; }},
    {"sigmoid", 0, [](double, double) -> Activation { return Sigmoid{}; }},
    {"silu", 0, [](double, double) -> Activation { return Silu{}; }},
    {"elu", 1, [](double alpha, double) -> Activation { return Elu{alpha}; }},
    {"softplus", 1, [](double beta, double) -> Activation { return Softplus{beta}; }},
    {"tanh", 0, [](double, double) -> Activation { return Tanh{}; }},
    {"erf", 2, [](double rate, double offset) -> Activation { return Erf{rate, offset}; }},
    {"sin", 2, [](double frequency, double phase) -> Activation { return Sine{frequency, phase}; }},
    {"cos", 2,
     [](double frequency, double phase) -> Activation { return Cosine{frequency, phase}; }},
});
// NOLINTEND(readability-named-parameter)

}  // namespace

std::span<const NamedActivation> named_activations() { return kNamed; }

}  // namespace fastntk
