// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/closest_pairs.hpp"
#include "fastntk/gradient_features.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/jacobian_products.hpp"
#include "fastntk/loss.hpp"
#include "fastntk/ntk.hpp"
#include "fastntk/pair_angles.hpp"
#include "fastntk/sgd.hpp"

// The algorithms as compiled for the processor, once for each precision, in src/host_*.cpp.
#define FASTNTK_HOST_GRAM(PREFIX, T, G)                                                       \
  PREFIX template void fastntk::ntk(                                                          \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Range, fastntk::Split, \
      fastntk::Matrix<const T>, const std::optional<fastntk::Matrix<const T>>&,               \
      const std::vector<fastntk::Matrix<G>>&, const fastntk::Monitor&);                       \
  PREFIX template fastntk::Features<fastntk::HostDevice, G> fastntk::compute_features(        \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Range,                 \
      fastntk::Matrix<const T>, const fastntk::Monitor&);                                     \
  PREFIX template fastntk::KernelTerms<G> fastntk::kernel_terms(                              \
      const fastntk::Network<T>&, fastntk::Range, fastntk::Split,                             \
      const fastntk::Features<fastntk::HostDevice, G>&,                                       \
      const fastntk::Features<fastntk::HostDevice, G>&);                                      \
  PREFIX template void fastntk::jacobian_products(                                            \
      const fastntk::HostDevice&, const fastntk::Network<T>&,                                 \
      const fastntk::Features<fastntk::HostDevice, G>&, fastntk::Range, fastntk::Index, bool, \
      fastntk::Matrix<const G>, fastntk::Matrix<G>, const fastntk::Monitor&);                 \
  PREFIX template void fastntk::transposed_jacobian_products(                                 \
      const fastntk::HostDevice&, const fastntk::Network<T>&,                                 \
      const fastntk::Features<fastntk::HostDevice, G>&, fastntk::Range, fastntk::Index,       \
      fastntk::Matrix<const G>, fastntk::Matrix<G>, const fastntk::Monitor&);
#define FASTNTK_HOST(PREFIX, T)                                                                  \
  PREFIX template void fastntk::evaluate(const fastntk::HostDevice&, const fastntk::Network<T>&, \
                                         fastntk::Matrix<const T>, fastntk::Matrix<T>,           \
                                         const fastntk::Monitor&);                               \
  PREFIX template void fastntk::input_jacobians(                                                 \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Matrix<const T>,          \
      const std::vector<fastntk::Matrix<T>>&, const fastntk::Monitor&);                          \
  PREFIX template void fastntk::gradient_features(                                               \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Index,                    \
      fastntk::Matrix<const T>, fastntk::Matrix<T>, const fastntk::Monitor&);                    \
  PREFIX template void fastntk::cross_kernels(                                                   \
      const fastntk::HostDevice&, const fastntk::KernelTerms<T>&,                                \
      const fastntk::Features<fastntk::HostDevice, T>&, fastntk::Range,                          \
      const fastntk::Features<fastntk::HostDevice, T>&, fastntk::Range,                          \
      const std::vector<fastntk::Matrix<T>>&, const fastntk::Monitor&);                          \
  PREFIX template void fastntk::symmetric_kernels(                                               \
      const fastntk::HostDevice&, const fastntk::KernelTerms<T>&,                                \
      const fastntk::Features<fastntk::HostDevice, T>&, fastntk::Range,                          \
      const std::vector<fastntk::Matrix<T>>&, const fastntk::Monitor&);                          \
  PREFIX template void fastntk::kernel_diagonal(                                                 \
      const fastntk::HostDevice&, const fastntk::KernelTerms<T>&,                                \
      const fastntk::Features<fastntk::HostDevice, T>&, T*, const fastntk::Monitor&);            \
  PREFIX template std::vector<fastntk::CosinePair<T>> fastntk::closest_pairs(                    \
      const fastntk::HostDevice&, const fastntk::KernelTerms<T>&,                                \
      const fastntk::Features<fastntk::HostDevice, T>&, const std::vector<T>&, std::size_t,      \
      const fastntk::Monitor&);                                                                  \
  PREFIX template void fastntk::pair_angles(                                                     \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Range,                    \
      fastntk::Matrix<const T>, const std::vector<std::pair<fastntk::Index, fastntk::Index>>&,   \
      std::vector<T>&, const fastntk::Monitor&);                                                 \
  PREFIX template double fastntk::sgd(const fastntk::HostDevice&, const fastntk::Network<T>&,    \
                                      const std::vector<fastntk::TrainedLayer<T>>&,              \
                                      fastntk::SgdOptions, fastntk::Matrix<const T>,             \
                                      fastntk::Matrix<const T>, const fastntk::Index*,           \
                                      fastntk::Matrix<double>, const fastntk::Monitor&);         \
  PREFIX template void fastntk::evaluate_loss(const fastntk::HostDevice&, fastntk::Loss,         \
                                              fastntk::Matrix<const T>, fastntk::Matrix<T>,      \
                                              fastntk::Matrix<double>, const fastntk::Monitor&); \
  FASTNTK_HOST_GRAM(PREFIX, T, float)                                                            \
  FASTNTK_HOST_GRAM(PREFIX, T, double)

FASTNTK_HOST(extern, float)
FASTNTK_HOST(extern, double)
