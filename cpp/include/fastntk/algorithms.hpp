// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/closest_pairs.hpp"
#include "fastntk/gradient_features.hpp"
#include "fastntk/hessian_products.hpp"
#include "fastntk/jacobian_products.hpp"
#include "fastntk/loss.hpp"
#include "fastntk/ntk.hpp"
#include "fastntk/sgd.hpp"

// The algorithms that every device runs, as compiled for one of them and one precision: with PREFIX
// `extern` declared to be compiled elsewhere, with nothing compiled here.
#define FASTNTK_GRAM_ALGORITHMS(PREFIX, DEVICE, T, G)                                              \
  PREFIX template void fastntk::ntk(                                                               \
      const fastntk::DEVICE&, const fastntk::Network<T>&, fastntk::Range, fastntk::Split,          \
      fastntk::Matrix<const T>, const std::optional<fastntk::Matrix<const T>>&,                    \
      const std::vector<fastntk::Matrix<G>>&, const fastntk::Monitor&);                            \
  PREFIX template fastntk::Features<fastntk::DEVICE, G> fastntk::compute_features(                 \
      const fastntk::DEVICE&, const fastntk::Network<T>&, fastntk::Range,                          \
      fastntk::Matrix<const T>, const fastntk::Monitor&);                                          \
  PREFIX template fastntk::KernelTerms<G> fastntk::kernel_terms(                                   \
      const fastntk::Network<T>&, fastntk::Range, fastntk::Split,                                  \
      const fastntk::Features<fastntk::DEVICE, G>&, const fastntk::Features<fastntk::DEVICE, G>&); \
  PREFIX template void fastntk::jacobian_products(                                                 \
      const fastntk::DEVICE&, const fastntk::Network<T>&,                                          \
      const fastntk::Features<fastntk::DEVICE, G>&, fastntk::Range, fastntk::Index, bool,          \
      fastntk::Matrix<const G>, fastntk::Matrix<G>, const fastntk::Monitor&);                      \
  PREFIX template void fastntk::transposed_jacobian_products(                                      \
      const fastntk::DEVICE&, const fastntk::Network<T>&,                                          \
      const fastntk::Features<fastntk::DEVICE, G>&, fastntk::Range, fastntk::Index,                \
      fastntk::Matrix<const G>, fastntk::Matrix<G>, const fastntk::Monitor&);
#define FASTNTK_ALGORITHMS(PREFIX, DEVICE, T)                                                    \
  PREFIX template void fastntk::evaluate(const fastntk::DEVICE&, const fastntk::Network<T>&,     \
                                         fastntk::Matrix<const T>, fastntk::Matrix<T>,           \
                                         const fastntk::Monitor&);                               \
  PREFIX template void fastntk::input_jacobians(                                                 \
      const fastntk::DEVICE&, const fastntk::Network<T>&, fastntk::Matrix<const T>,              \
      const std::vector<fastntk::Matrix<T>>&, const fastntk::Monitor&);                          \
  PREFIX template void fastntk::gradient_features(                                               \
      const fastntk::DEVICE&, const fastntk::Network<T>&, fastntk::Index,                        \
      fastntk::Matrix<const T>, fastntk::Matrix<T>, const fastntk::Monitor&);                    \
  PREFIX template void fastntk::passes_with_curvature(                                           \
      const fastntk::DEVICE&, const fastntk::Network<T>&, fastntk::Matrix<const T>,              \
      fastntk::Matrix<const T>, const fastntk::CurvedPasses<T>&, const fastntk::Monitor&);       \
  PREFIX template void fastntk::hessian_products(                                                \
      const fastntk::DEVICE&, const fastntk::Network<T>&, fastntk::Matrix<const T>,              \
      fastntk::Matrix<const T>, fastntk::Matrix<const T>, fastntk::Matrix<T>,                    \
      const fastntk::Monitor&);                                                                  \
  PREFIX template void fastntk::cross_kernels(                                                   \
      const fastntk::DEVICE&, const fastntk::KernelTerms<T>&,                                    \
      const fastntk::Features<fastntk::DEVICE, T>&, fastntk::Range,                              \
      const fastntk::Features<fastntk::DEVICE, T>&, fastntk::Range,                              \
      const std::vector<fastntk::Matrix<T>>&, const fastntk::Monitor&);                          \
  PREFIX template void fastntk::symmetric_kernels(                                               \
      const fastntk::DEVICE&, const fastntk::KernelTerms<T>&,                                    \
      const fastntk::Features<fastntk::DEVICE, T>&, fastntk::Range,                              \
      const std::vector<fastntk::Matrix<T>>&, const fastntk::Monitor&);                          \
  PREFIX template void fastntk::lower_kernel(                                                    \
      const fastntk::DEVICE&, const fastntk::KernelTerms<T>&,                                    \
      const fastntk::Features<fastntk::DEVICE, T>&, const fastntk::SymmetricStorage<T>&,         \
      const fastntk::Monitor&);                                                                  \
  PREFIX template void fastntk::kernel_diagonal(                                                 \
      const fastntk::DEVICE&, const fastntk::KernelTerms<T>&,                                    \
      const fastntk::Features<fastntk::DEVICE, T>&, T*, const fastntk::Monitor&);                \
  PREFIX template std::vector<fastntk::CosinePair<T>> fastntk::closest_pairs(                    \
      const fastntk::DEVICE&, const fastntk::KernelTerms<T>&,                                    \
      const fastntk::Features<fastntk::DEVICE, T>&, const std::vector<T>&, std::size_t,          \
      const fastntk::Monitor&);                                                                  \
  PREFIX template double fastntk::sgd(const fastntk::DEVICE&, const fastntk::Network<T>&,        \
                                      const std::vector<fastntk::TrainedLayer<T>>&,              \
                                      fastntk::SgdOptions, fastntk::Matrix<const T>,             \
                                      fastntk::Matrix<const T>, const fastntk::Index*,           \
                                      fastntk::Matrix<double>, const fastntk::Monitor&);         \
  PREFIX template void fastntk::evaluate_loss(const fastntk::DEVICE&, fastntk::Loss,             \
                                              fastntk::Matrix<const T>, fastntk::Matrix<T>,      \
                                              fastntk::Matrix<double>, const fastntk::Monitor&); \
  FASTNTK_GRAM_ALGORITHMS(PREFIX, DEVICE, T, float)                                              \
  FASTNTK_GRAM_ALGORITHMS(PREFIX, DEVICE, T, double)
