// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/activation.hpp"

#include <array>
#include <span>

namespace fastntk {

namespace {

using namespace activation;  // NOLINT(google-build-using-namespace): the table is about nothing
                             // else

// G. Klambauer et al., "Self-normalizing neural networks", 2017: the fixed point of mean 0 and
// variance 1.
constexpr double kSelu = 1.0507009873554804934193349852946;
constexpr double kSeluAlpha = 1.6732632423543772848170429916717;

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
    {"selu", 0, [](double, double) -> Activation { return Elu{kSelu * kSeluAlpha, kSelu}; }},
    {"celu", 1, [](double alpha, double) -> Activation { return Elu{alpha, 1.0, 1.0 / alpha}; }},
    {"softplus", 1, [](double beta, double) -> Activation { return Softplus{beta}; }},
    {"tanh", 0, [](double, double) -> Activation { return Tanh{}; }},
    {"erf", 2, [](double rate, double offset) -> Activation { return Erf{rate, offset}; }},
    {"sin", 2, [](double frequency, double phase) -> Activation { return Sine{frequency, phase}; }},
    {"cos", 2,
     [](double frequency, double phase) -> Activation { return Cosine{frequency, phase}; }},
    {"softsign", 0, [](double, double) -> Activation { return Softsign{}; }},
    {"squareplus", 1, [](double bend, double) -> Activation { return Squareplus{bend}; }},
    {"mish", 0, [](double, double) -> Activation { return Mish{}; }},
    {"gelu_tanh", 0, [](double, double) -> Activation { return GeluTanh{}; }},
    {"relu6", 0, [](double, double) -> Activation { return Clipped{0.0, 6.0}; }},
    {"hardtanh", 2, [](double low, double high) -> Activation { return Clipped{low, high}; }},
    {"hardsigmoid", 0,
     [](double, double) -> Activation { return Clipped{-3.0, 3.0, 1.0 / 6.0, 0.5}; }},
    {"hardswish", 0,
     [](double, double) -> Activation { return Clipped{-3.0, 3.0, 1.0 / 6.0, 0.5, true}; }},
});
// NOLINTEND(readability-named-parameter)

}  // namespace

std::span<const NamedActivation> named_activations() { return kNamed; }

}  // namespace fastntk
