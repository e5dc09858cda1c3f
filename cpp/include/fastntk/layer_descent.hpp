// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>

#include "fastntk/blas.hpp"
#include "fastntk/descent.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/network.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/tiling.hpp"

// This changes the parameters of a layer, from Δ and H of a batch as matrices of rows.
namespace fastntk {

// A lane has this of its own; see gradient_shape().
template <class T>
struct DescentScratch {
  Matrix<T> gradient;
  Matrix<T> sums;  // as many rows
};

// Returns rows and columns of the gradient that there is at a time, where no tile that changes is
// larger than `largest`: none at all, unless there is momentum or its norm is wanted. Where only
// its norm is, these are so few rows that they are little beside a batch.
template <class Device>
Tiling::Shape gradient_shape(const Device& device, const SgdOptions& options,
                             Tiling::Shape largest) {
  if (options.momentum == 0.0 && !options.measure_gradient) return {0, 0};
  auto [rows, cols] = largest;
  if (options.momentum == 0.0) {
    const Index few = Partition::round_up(options.batch / 2);
    rows = std::min(rows, std::max(few, device.row_blocks().smallest));
  }
  return {rows, cols};
}

// One layer and a batch: W ← W − η s Δᵀ H and b ← b − η σ_b Δᵀ 1.
template <class T>
struct LayerDescent {
  const Layer<T>& layer;
  const TrainedLayer<T>& trained;
  double momentum;
  Matrix<const T> delta;  // (rows, n_out)
  Matrix<const T> below;  // (rows, n_in): H, of a layer whose weights are trained
  Matrix<const T> ones;   // (rows, 1)

  // Changes a tile of W and, beside its first column, of b. `square`, if not null, gets ‖g‖² of
  // their gradient added.
  template <class Lane>
  void change(const Lane& lane, const DescentScratch<T>& scratch, const Tile& tile,
              double* square) const {
    if (trained.weights.data != nullptr) {
      change(lane, scratch, {trained.rate, layer.weight_scale, trained.weights, trained.velocity},
             below.col_block(tile.cols.first, tile.cols.count), tile, square);
    }
    if (trained.bias.data != nullptr && tile.cols.first == 0) {
      change(lane, scratch,
             {trained.bias_rate, layer.bias_scale, trained.bias, trained.bias_velocity}, ones,
             {tile.index, tile.matrix, tile.rows, {0, 1}}, square);
    }
  }

 private:
  // What changes by the product of Δᵀ with `factor` (rows, columns of the tile), times a scale.
  struct Changing {
    double rate;
    double scale;
    Matrix<T> parameters;
    Matrix<T> velocity;
  };

  template <class Lane>
  void change(const Lane& lane, const DescentScratch<T>& scratch, const Changing& changing,
              Matrix<const T> factor, const Tile& tile, double* square) const {
    const Matrix<const T> of_rows = delta.col_block(tile.rows.first, tile.rows.count);
    const Matrix<T> target = tile.of(changing.parameters);
    if (changing.velocity.data == nullptr && square == nullptr) {
      lane.template gemm<T>(Op::transpose, Op::none,
                            static_cast<T>(-changing.rate * changing.scale), of_rows, factor,
                            Write::accumulate, target);
      return;
    }
    const Index at_once = scratch.gradient.rows;
    for (Index first = 0; first < target.rows; first += at_once) {
      const Matrix<T> part = target.row_block(first, std::min(at_once, target.rows - first));
      const Matrix<T> g = scratch.gradient.block(0, part.rows, 0, part.cols);
      lane.template gemm<T>(Op::transpose, Op::none, static_cast<T>(changing.scale),
                            of_rows.col_block(first, part.rows), factor, Write::overwrite, g);
      const Matrix<T> velocity = changing.velocity.data == nullptr
                                     ? changing.velocity
                                     : tile.of(changing.velocity).row_block(first, part.rows);
      descend_along(lane,
                    element::Descend<T>{static_cast<T>(changing.rate), static_cast<T>(momentum), g,
                                        velocity, part},
                    scratch.sums, square);
    }
  }
};

}  // namespace fastntk
