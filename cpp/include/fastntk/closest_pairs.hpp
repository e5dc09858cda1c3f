// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "fastntk/gram_tiles.hpp"

// This finds the pairs of samples with the smallest gradient angles from the tiles of the kernel,
// none of which is kept.
namespace fastntk {

template <class G>
struct CosinePair {
  G cosine;
  Index i;
  Index j;  // i < j

  // Pairs are ordered by angle, and among equal angles by (i, j): a strict order, so that the k
  // first pairs do not depend on the order in which pairs are met.
  bool operator<(const CosinePair& other) const {
    if (cosine != other.cosine) return cosine > other.cosine;
    return std::pair(i, j) < std::pair(other.i, other.j);
  }
};

// Keeps the first k ≥ 1 of all pairs that are offered.
template <class G>
class FirstPairs {
 public:
  explicit FirstPairs(std::size_t k) : k_(k) {}

  // A pair whose cosine is smaller has no chance any more.
  G threshold() const { return pairs_.size() < k_ ? G(-2) : pairs_.back().cosine; }

  void offer(const CosinePair<G>& pair) {
    pairs_.insert(std::upper_bound(pairs_.begin(), pairs_.end(), pair), pair);
    if (pairs_.size() > k_) pairs_.pop_back();
  }

  const std::vector<CosinePair<G>>& pairs() const { return pairs_; }

 private:
  std::size_t k_;
  std::vector<CosinePair<G>> pairs_;
};

// Fills diagonal[i], which lies on the device, with K(x_i, x_i) of the one kernel that the terms
// make up.
template <class Device, class G>
void kernel_diagonal(const Device& device, const KernelTerms<G>& terms,
                     const Features<Device, G>& x, G* diagonal, const Monitor& monitor) {
  const Partition blocks{x.rows, device.row_blocks()};
  struct Workspace {
    typename Device::template Buffer<G> dots;
    typename Device::template Buffer<G> square;  // of the rows of a panel
  };
  device.run(
      "norms", blocks.blocks(), monitor,
      [&] { return Workspace{{2, blocks.size()}, {3 * x.panel_rows, 3 * x.panel_rows}}; },
      [&](const auto& lane, const Workspace& workspace, Index block) {
        const Range rows = blocks[block];
        const Matrix<G> h_dots(workspace.dots.view().row(0), rows.count, 1);
        const Matrix<G> delta_dots(workspace.dots.view().row(1), rows.count, 1);
        const Matrix<G> sums(diagonal + rows.first, rows.count, 1);
        const auto squares = [&](const FeatureMatrix<G>& all, const Matrix<G>& dots) {
          squared_norms(lane, all, rows, workspace.square.view(), dots);
        };
        for (std::size_t l = 0; l < terms.of_layer.size(); ++l) {
          if (terms.of_layer[l].empty()) continue;
          squares(x.activation(l), h_dots);
          for (const Term<G>& term : terms.of_layer[l]) {
            if (!term.constant_delta) squares(term.x_delta, delta_dots);
            add_term(lane, term, h_dots, delta_dots, sums);
          }
        }
        for (const Term<G>& term : terms.without_h) {
          squares(term.x_delta, delta_dots);
          add_term(lane, term, {}, delta_dots, sums);
        }
      });
}

// These are features of samples, with inverse_norms[i] = K(x_i, x_i)^{-1/2}; samples with an
// inverse norm of 0 are left out.
template <class Device, class G>
struct NormedFeatures {
  const Features<Device, G>& features;
  const std::vector<G>& inverse_norms;

  typename Device::template Buffer<G> norms_on(const Device& device) const {
    typename Device::template Buffer<G> result(1, features.rows);
    device.write(inverse_norms.data(), result.view());
    return result;
  }
};

// Whether pairs are those of the samples of one set, i < j, or of all of one set, i, with all of
// another, j. Two sets may hold equal samples, and share their features.
enum class PairsOf : std::uint8_t { one_set, two_sets };

// Returns the k pairs (i, j) of z_i and x_j with the smallest angles.
template <class Device, class G>
std::vector<CosinePair<G>> closest_pairs(const Device& device, const KernelTerms<G>& terms,
                                         const NormedFeatures<Device, G>& x,
                                         const NormedFeatures<Device, G>& z, PairsOf which,
                                         std::size_t k, const Monitor& monitor) {
  const bool within = which == PairsOf::one_set;
  const BlockLimits limits = tile_limits(device, x.features);
  const Partition row_blocks{x.features.rows, limits};
  const Partition col_blocks{z.features.rows, limits};
  const std::vector<TilePlace> tiles =
      within ? lower_tiles(x.features, row_blocks) : all_tiles(row_blocks, col_blocks);
  struct Workspace {
    TileWorkspace<Device, G> tile;
    typename Device::template Buffer<G> kernel;
  };
  const auto row_norms = x.norms_on(device);
  const auto col_norms = z.norms_on(device);
  std::mutex mutex;
  FirstPairs<G> first(k);  // guarded by mutex
  device.run(
      "tiles", static_cast<Index>(tiles.size()), monitor,
      [&] {
        return Workspace{{x.features, row_blocks.size(), col_blocks.size()},
                         {row_blocks.size(), col_blocks.size()}};
      },
      [&](const auto& lane, const Workspace& workspace, Index index) {
        const TilePlace& place = tiles[static_cast<std::size_t>(index)];
        const Range rows = place.rows;
        const Range cols = place.cols;
        const Matrix<G> tile = workspace.kernel.view().block(0, rows.count, 0, cols.count);
        ntk_tile(lane, workspace.tile, terms, x.features, z.features, place, {tile});
        if (lane.stopped()) return;
        const G found = [&] {
          const std::scoped_lock lock(mutex);
          return first.threshold();
        }();
        FirstPairs<G> here(k);
        lane.template visit_large<G>(
            tile, row_norms.view().data + rows.first, col_norms.view().data + cols.first,
            within ? rows.first - cols.first : cols.count,
            [&] { return std::max(found, here.threshold()); },
            [&](Index r, Index c, G cosine) {
              const Index i = cols.first + c;
              const Index j = rows.first + r;
              const bool present = z.inverse_norms[i] > G(0) && x.inverse_norms[j] > G(0);
              if (present) here.offer({cosine, i, j});
            });
        const std::scoped_lock lock(mutex);
        for (const CosinePair<G>& pair : here.pairs()) first.offer(pair);
      });
  return first.pairs();
}

}  // namespace fastntk
