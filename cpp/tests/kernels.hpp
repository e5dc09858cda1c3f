// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <type_traits>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "reference_blas.hpp"
#include "reference_network.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

// The passes and the Gram matrices have a precision each.
template <class T, class G>
struct Precision {
  using Pass = T;
  using Gram = G;
  // The tolerance is that of the coarser of the two.
  static constexpr double kTolerance = std::max(Tolerance<T>::kRounding, Tolerance<G>::kRounding);
};
using Single = Precision<float, float>;
using Mixed = Precision<float, double>;
using Double = Precision<double, double>;
using Narrowed = Precision<double, float>;

// Returns K(x, z), or K(x, x) without z, of all that the split tells apart.
template <class G, class T>
std::vector<PaddedMatrix<G>> split_kernels(const Network<T>& network, Range outputs, Split split,
                                           const PaddedMatrix<T>& x,
                                           const PaddedMatrix<std::type_identity_t<T>>* z = nullptr,
                                           int threads = 2) {
  std::vector<PaddedMatrix<G>> kernels;
  std::vector<Matrix<G>> views;
  for (std::size_t k = 0; k < kernel_count(network, outputs, split); ++k) {
    kernels.emplace_back(x.rows(), z == nullptr ? x.rows() : z->rows());
  }
  for (auto& kernel : kernels) views.push_back(kernel.view());
  std::optional<Matrix<const T>> columns;
  if (z != nullptr) columns = z->view();
  ntk<HostDevice, T, G>(HostDevice(reference_blas(), threads), network, outputs, split, x.view(),
                        columns, views, nullptr);
  for (const auto& kernel : kernels) CHECK(kernel.margin_intact());
  return kernels;
}

// Returns √ω ∂f/∂parameter of one output of the first readout, with one row for each sample.
inline PaddedMatrix<double> reference_features(const Network<double>& network, Index output,
                                               const PaddedMatrix<double>& samples) {
  PaddedMatrix<double> result(samples.rows(), parameter_count(network, network.readouts.front()));
  for (Index i = 0; i < samples.rows(); ++i) {
    const auto gradient = reference_gradient(network, output, samples.view().row(i));
    std::ranges::copy(gradient, result.view().row(i));
  }
  return result;
}

// sum (+)= a bᵀ over the chosen columns.
inline void add_gram(const PaddedMatrix<double>& a, const PaddedMatrix<double>& b, Range columns,
                     PaddedMatrix<double>& sum) {
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < b.rows(); ++j) {
      double product = 0.0;
      for (Index p = columns.first; p < columns.first + columns.count; ++p) {
        product += a(i, p) * b(j, p);
      }
      sum(i, j) += product;
    }
  }
}

}  // namespace fastntk::test

TYPE_TO_STRING_AS("float32", fastntk::test::Single);
TYPE_TO_STRING_AS("float32 to float64", fastntk::test::Mixed);
TYPE_TO_STRING_AS("float64", fastntk::test::Double);
TYPE_TO_STRING_AS("float64 to float32", fastntk::test::Narrowed);
