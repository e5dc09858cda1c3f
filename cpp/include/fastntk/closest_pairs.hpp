// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
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

// Returns the k pairs with the smallest angles among samples with inverse_norms[i] = K(x_i,
// x_i)^{-1/2}; samples with an inverse norm of 0 are left out.
template <class Device, class G>
std::vector<CosinePair<G>> closest_pairs(const Device& device, const KernelTerms<G>& terms,
                                         const Features<Device, G>& x,
                                         const std::vector<G>& inverse_norms, std::size_t k,
                                         const Monitor& monitor) {
  const Partition blocks{x.rows, tile_limits(device, x)};
  const auto lower = lower_tiles(x, blocks);
  struct Workspace {
    TileWorkspace<Device, G> tile;
    typename Device::template Buffer<G> kernel;
  };
  const typename Device::template Buffer<G> device_norms(1, x.rows);
  device.write(inverse_norms.data(), device_norms.view());
  std::mutex mutex;
  FirstPairs<G> first(k);  // guarded by mutex
  device.run(
      "tiles", static_cast<Index>(lower.size()), monitor,
      [&] { return Workspace{{x, blocks.size(), blocks.size()}, {blocks.size(), blocks.size()}}; },
      [&](const auto& lane, const Workspace& workspace, Index index) {
        const TilePlace& place = lower[static_cast<std::size_t>(index)];
        const Range rows = place.rows;
        const Range cols = place.cols;
        const Matrix<G> tile = workspace.kernel.view().block(0, rows.count, 0, cols.count);
        ntk_tile(lane, workspace.tile, terms, x, x, place, {tile});
        if (lane.stopped()) return;
        const G found = [&] {
          const std::scoped_lock lock(mutex);
          return first.threshold();
        }();
        FirstPairs<G> here(k);
        const G* const scales = inverse_norms.data();
        const G* const device_scales = device_norms.view().data;
        lane.template visit_large<G>(
            tile, device_scales + rows.first, device_scales + cols.first, rows.first - cols.first,
            [&] { return std::max(found, here.threshold()); },
            [&](Index r, Index c, G cosine) {
              const Index i = rows.first + r;
              const Index j = cols.first + c;
              const bool present = scales[i] > G(0) && scales[j] > G(0);
              if (present) here.offer({cosine, j, i});
            });
        const std::scoped_lock lock(mutex);
        for (const CosinePair<G>& pair : here.pairs()) first.offer(pair);
      });
  return first.pairs();
}

}  // namespace fastntk
