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
#include "fastntk/wired/hessian_products.hpp"
#include "fastntk/wired/ntk.hpp"
#include "fastntk/wired/sgd.hpp"

// These are the algorithms that every device runs, as compiled for one device and one precision.
// PREFIX is `extern` where they are declared, to be compiled elsewhere, and empty where they are
// compiled.

// An instance of a function template is named by its arguments, which may contain commas.
#define FASTNTK_INSTANCE(PREFIX, ...) \
  PREFIX template decltype(fastntk::__VA_ARGS__) fastntk::__VA_ARGS__;

// These algorithms have a precision T of the network and a precision G of the Gram matrices.
#define FASTNTK_GRAM_ALGORITHMS(PREFIX, DEVICE, T, G)                           \
  FASTNTK_INSTANCE(PREFIX, ntk<fastntk::DEVICE, T, G>)                          \
  FASTNTK_INSTANCE(PREFIX, compute_features<G, fastntk::DEVICE, T>)             \
  FASTNTK_INSTANCE(PREFIX, kernel_terms<fastntk::DEVICE, T, G>)                 \
  FASTNTK_INSTANCE(PREFIX, jacobian_products<fastntk::DEVICE, T, G>)            \
  FASTNTK_INSTANCE(PREFIX, transposed_jacobian_products<fastntk::DEVICE, T, G>) \
  FASTNTK_INSTANCE(PREFIX, wired::ntk<fastntk::DEVICE, T, G>)                   \
  FASTNTK_INSTANCE(PREFIX, wired::compute_features<G, fastntk::DEVICE, T>)      \
  FASTNTK_INSTANCE(PREFIX, wired::kernel_terms<fastntk::DEVICE, T, G>)          \
  FASTNTK_INSTANCE(PREFIX, wired::jacobian_products<fastntk::DEVICE, T, G>)     \
  FASTNTK_INSTANCE(PREFIX, wired::transposed_jacobian_products<fastntk::DEVICE, T, G>)

#define FASTNTK_ALGORITHMS(PREFIX, DEVICE, T)                            \
  FASTNTK_INSTANCE(PREFIX, evaluate<fastntk::DEVICE, T>)                 \
  FASTNTK_INSTANCE(PREFIX, input_jacobians<fastntk::DEVICE, T>)          \
  FASTNTK_INSTANCE(PREFIX, gradient_features<fastntk::DEVICE, T>)        \
  FASTNTK_INSTANCE(PREFIX, passes_with_curvature<fastntk::DEVICE, T>)    \
  FASTNTK_INSTANCE(PREFIX, hessian_products<fastntk::DEVICE, T>)         \
  FASTNTK_INSTANCE(PREFIX, cross_kernels<fastntk::DEVICE, T>)            \
  FASTNTK_INSTANCE(PREFIX, symmetric_kernels<fastntk::DEVICE, T>)        \
  FASTNTK_INSTANCE(PREFIX, lower_kernel<fastntk::DEVICE, T>)             \
  FASTNTK_INSTANCE(PREFIX, kernel_diagonal<fastntk::DEVICE, T>)          \
  FASTNTK_INSTANCE(PREFIX, closest_pairs<fastntk::DEVICE, T>)            \
  FASTNTK_INSTANCE(PREFIX, sgd<fastntk::DEVICE, T>)                      \
  FASTNTK_INSTANCE(PREFIX, evaluate_loss<fastntk::DEVICE, T>)            \
  FASTNTK_INSTANCE(PREFIX, wired::evaluate<fastntk::DEVICE, T>)          \
  FASTNTK_INSTANCE(PREFIX, wired::input_jacobians<fastntk::DEVICE, T>)   \
  FASTNTK_INSTANCE(PREFIX, wired::gradient_features<fastntk::DEVICE, T>) \
  FASTNTK_INSTANCE(PREFIX, wired::hessian_products<fastntk::DEVICE, T>)  \
  FASTNTK_INSTANCE(PREFIX, wired::sgd<fastntk::DEVICE, T>)               \
  FASTNTK_GRAM_ALGORITHMS(PREFIX, DEVICE, T, float)                      \
  FASTNTK_GRAM_ALGORITHMS(PREFIX, DEVICE, T, double)
