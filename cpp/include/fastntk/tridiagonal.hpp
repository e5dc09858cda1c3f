// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/portability.hpp"
#include "fastntk/symmetric_storage.hpp"

// This finds eigenvalues at both ends of the spectrum of a symmetric matrix, without vectors: those
// of a tridiagonal matrix that has the same ones.
//
// LAPACK's way from one to the other reads the matrix twice for each row: once to multiply it with
// a vector, and once, in blocks, to update it. Here a row costs one reading, which applies the
// update of the row before it and multiplies the result while that is in registers. It takes a
// third to a fifth of the time as long as the matrix stays in the second-level cache, and no longer
// if it does not.
namespace fastntk {

// This is a symmetric tridiagonal matrix of n rows.
struct Tridiagonal {
  std::vector<double> diagonal;
  std::vector<double> below;  // element i is that of row i + 1, in column i; the last one is 0

  explicit Tridiagonal(Index n)
      : diagonal(static_cast<std::size_t>(n)), below(static_cast<std::size_t>(n)) {}
};

namespace tridiagonal {

// So many rows are taken together: what is read of the vectors serves all of them.
constexpr Index kGroup = 4;

inline Index whole_groups(Index n) { return (n + kGroup - 1) / kGroup * kGroup; }

// These are the vectors of a step, of whole groups of rows, with zeros beyond the rows that the
// matrix has left. It is to become A − v qᵀ − q vᵀ, and then to be multiplied with x.
struct Step {
  const double* v;
  const double* q;
  const double* x;
  double* product;  // 0 at first
};

// NOLINTBEGIN(modernize-use-using, modernize-avoid-c-arrays): the attributes of vectors and their
// alignment would be lost.
#ifdef FASTNTK_HAS_VECTOR_TYPES
typedef double Group __attribute__((vector_size(kGroup * sizeof(double))));
typedef double GroupInMemory
    __attribute__((vector_size(kGroup * sizeof(double)), aligned(sizeof(double)), may_alias));

// Does the step for the groups that hold the leading `rows` of A, from the lower triangle. The
// squares of a group at the diagonal are whole.
FASTNTK_MULTIVERSION inline void update_and_multiply(Matrix<double> a, Index rows,
                                                     const Step& step) {
  for (Index first = 0; first < rows; first += kGroup) {
    Group v[kGroup];
    Group q[kGroup];
    Group x[kGroup];
    Group sums[kGroup] = {};
    for (Index r = 0; r < kGroup; ++r) {
      v[r] = step.v[first + r] - Group{};
      q[r] = step.q[first + r] - Group{};
      x[r] = step.x[first + r] - Group{};
    }
    for (Index j = 0; j <= first; j += kGroup) {
      const Group v_across = *reinterpret_cast<const GroupInMemory*>(step.v + j);
      const Group q_across = *reinterpret_cast<const GroupInMemory*>(step.q + j);
      const Group x_across = *reinterpret_cast<const GroupInMemory*>(step.x + j);
      Group below = *reinterpret_cast<const GroupInMemory*>(step.product + j);
#pragma GCC unroll 4
      for (Index r = 0; r < kGroup; ++r) {
        GroupInMemory& elements = *reinterpret_cast<GroupInMemory*>(a.row(first + r) + j);
        const Group updated = elements - v[r] * q_across - q[r] * v_across;
        elements = updated;
        sums[r] += updated * x_across;
        below += updated * x[r];
      }
      if (j < first) *reinterpret_cast<GroupInMemory*>(step.product + j) = below;
    }
    for (Index r = 0; r < kGroup; ++r) {
      for (Index lane = 0; lane < kGroup; ++lane) step.product[first + r] += sums[r][lane];
    }
  }
}
#else
inline void update_and_multiply(Matrix<double> a, Index rows, const Step& step) {
  for (Index i = 0; i < whole_groups(rows); ++i) {
    double* const row = a.row(i);
    const Index first = i / kGroup * kGroup;
    for (Index j = 0; j < first + kGroup; ++j) {
      row[j] -= step.v[i] * step.q[j] + step.q[i] * step.v[j];
      step.product[i] += row[j] * step.x[j];
      if (j < first) step.product[j] += row[j] * step.x[i];
    }
  }
}
#endif
// NOLINTEND(modernize-use-using, modernize-avoid-c-arrays)

// row −= v[i] q + q[i] v
struct UpdateRow {
  double* row;
  const double* v;
  const double* q;
  Index i;

  void operator()(Index /*row*/, Index j) const { row[j] -= v[i] * q[j] + q[i] * v[j]; }
};

// to = factor · to − multiple · x
struct Combine {
  double factor;
  double multiple;
  const double* x;
  double* to;

  void operator()(Index /*row*/, Index j) const { to[j] = factor * to[j] - multiple * x[j]; }
};

template <class Lane>
double dot(const Lane& lane, Index count, const double* a, const double* b) {
  double sum = 0.0;
  lane.template row_dots<double>(1.0, {a, 1, count}, {b, 1, count}, Write::overwrite,
                                 Matrix<double>(&sum, 1, 1));
  return sum;
}

// Squares of less than this are nothing beside a matrix that is worth looking at, whose elements
// reach 1e-120 at least; reciprocals of what is larger are in range.
constexpr double kNothing = 1e-290;

// Sets x to the Householder vector of 1 − τ x xᵀ, which takes `row` to (0, …, 0, β). Returns β and
// τ; τ is 0 where nothing is to be done.
template <class Lane>
std::pair<double, double> reflection(const Lane& lane, const double* row, Index count, double* x) {
  const double squares = dot(lane, count - 1, row, row);
  const double last = row[count - 1];
  if (squares < kNothing) {
    std::fill_n(x, count, 0.0);
    return {last, 0.0};
  }
  const double norm = std::sqrt(squares + last * last);
  const double beta = last > 0.0 ? -norm : norm;
  std::copy_n(row, count, x);
  x[count - 1] = last - beta;
  return {beta, 1.0 / (norm * (norm + std::abs(last)))};
}

// Reduces the leading n rows of `a` to tridiagonal form by n − 2 reflections, from the last row to
// the first: what lies before the diagonal is together in memory. Read are the elements on and
// below the diagonal; `a` is overwritten, and has room for whole groups of rows and columns.
template <class Lane>
Tridiagonal reduced(const Lane& lane, Matrix<double> a, Index n) {
  for (Index i = 0; i < a.rows; ++i) {
    const Index first = i / kGroup * kGroup;
    if (i >= n) std::fill_n(a.row(i), first, 0.0);
    for (Index j = first; j < first + kGroup; ++j) {
      if (std::max(i, j) >= n) {
        a(i, j) = 0.0;
      } else if (j > i) {
        a(i, j) = a(j, i);
      }
    }
  }
  Tridiagonal result(n);
  std::vector<double> vectors(static_cast<std::size_t>(4 * a.rows));
  double* v = vectors.data();
  double* q = v + a.rows;
  double* x = q + a.rows;
  double* product = x + a.rows;
  bool pending = false;  // whether the update by v and q is still to be done
  for (Index i = n - 1; i > 0 && !lane.stopped(); --i) {
    double* const row = a.row(i);
    lane.for_each(1, i + 1, UpdateRow{row, v, q, i});
    const auto [beta, tau] = reflection(lane, row, i, x);
    result.diagonal[static_cast<std::size_t>(i)] = row[i];
    result.below[static_cast<std::size_t>(i - 1)] = beta;
    if (tau == 0.0 && !pending) continue;
    x[i] = v[i] = q[i] = 0.0;
    std::fill_n(product, a.rows, 0.0);
    update_and_multiply(a, i, {v, q, x, product});
    // With p = τ A x, the reflected matrix is A − x qᵀ − q xᵀ for q = p − (τ/2 pᵀx) x.
    const double half = tau * (tau * dot(lane, i, product, x)) / 2;  // τ² alone may overflow
    lane.for_each(1, i, Combine{tau, half, x, product});
    std::fill(product + i, product + a.rows, 0.0);
    std::swap(v, x);
    std::swap(q, product);
    pending = tau != 0.0;
  }
  result.diagonal[0] = a(0, 0);
  return result;
}

// So many shifts are tried at a time: as long as one waits for a quotient, there are others.
constexpr Index kShifts = 16;

// counts[s] = the number of eigenvalues below shifts[s], which is that of the negative pivots of
// the shifted matrix; one that is 0 is taken for the smallest number. `squares` are those of the
// elements below the diagonal.
FASTNTK_MULTIVERSION inline void count_below(Index n, const double* diagonal, const double* squares,
                                             const double* shifts, double* counts) {
  // NOLINTBEGIN(modernize-avoid-c-arrays): these stay in registers.
  double shifted[kShifts];
  double pivots[kShifts];
  double negative[kShifts];
  for (Index s = 0; s < kShifts; ++s) {
    shifted[s] = shifts[s];
    pivots[s] = 1.0;
    negative[s] = 0.0;
  }
  for (Index i = 0; i < n; ++i) {
    const double here = diagonal[i];
    const double square = i == 0 ? 0.0 : squares[i - 1];
    // GCC fills whole registers where this stays a loop, and only halves of them where it does not.
#pragma GCC unroll 1
    for (Index s = 0; s < kShifts; ++s) {
      const double pivot = here - shifted[s] - square / pivots[s];
      negative[s] += pivot < 0.0 ? 1.0 : 0.0;
      pivots[s] = pivot == 0.0 ? std::numeric_limits<double>::min() : pivot;
    }
  }
  std::copy_n(negative, kShifts, counts);
  // NOLINTEND(modernize-avoid-c-arrays)
}

// Bisection, in 17 parts at a time, for single eigenvalues of a tridiagonal matrix.
class Bisection {
 public:
  explicit Bisection(const Tridiagonal& matrix)
      : diagonal_(matrix.diagonal), squares_(matrix.below) {
    // By Gershgorin's theorem.
    for (std::size_t i = 0; i < diagonal_.size(); ++i) {
      const double radius =
          std::abs(matrix.below[i]) + (i > 0 ? std::abs(matrix.below[i - 1]) : 0.0);
      lower_ = std::min(lower_, diagonal_[i] - radius);
      upper_ = std::max(upper_, diagonal_[i] + radius);
    }
    const double margin = std::max(-lower_, upper_) * 1e-12;
    lower_ -= margin;
    upper_ += margin;
    for (double& element : squares_) element *= element;
  }

  // Returns the largest number that eigenvalue number `index`, in ascending order, is not below: as
  // sharp as rounding allows, and exact for a diagonal matrix.
  double eigenvalue(Index index) const {
    // Two neighbours among the tried shifts enclose it; zero is tried first, as it lies next to
    // numbers of all sizes.
    double shifts[kShifts] = {};  // NOLINT(modernize-avoid-c-arrays)
    const bool negative = first_above(index, shifts) < kShifts;
    double least = negative ? lower_ : 0.0;
    double most = negative ? 0.0 : upper_;
    const double small = (upper_ - lower_) * 0x1p-75;
    while (most - least > small && std::nextafter(least, most) < most) {
      for (Index s = 0; s < kShifts; ++s) {
        shifts[s] = least + (most - least) / (kShifts + 1) * static_cast<double>(s + 1);
      }
      const Index above = first_above(index, shifts);
      if (above < kShifts) most = shifts[above];
      if (above > 0) least = shifts[above - 1];
    }
    return least;
  }

 private:
  // Returns the first of the ascending shifts that eigenvalue number `index` is below.
  Index first_above(Index index, const double* shifts) const {
    double counts[kShifts];  // NOLINT(modernize-avoid-c-arrays)
    count_below(static_cast<Index>(diagonal_.size()), diagonal_.data(), squares_.data(), shifts,
                counts);
    Index s = 0;
    while (s < kShifts && counts[s] <= static_cast<double>(index)) ++s;
    return s;
  }

  std::vector<double> diagonal_;
  std::vector<double> squares_;
  double lower_ = 0.0;
  double upper_ = 0.0;
};

// Returns the largest size of an element on or below the diagonal.
FASTNTK_MULTIVERSION inline double largest_size(Matrix<const double> lower) {
  double largest = 0.0;
  for (Index i = 0; i < lower.rows; ++i) {
    for (Index j = 0; j <= i; ++j) largest = std::max(largest, std::abs(lower(i, j)));
  }
  return largest;
}

// Returns the power of two by which a matrix of such elements is to be divided. The reduction forms
// products of three of them, and divides by squares of those of one row, of which `kNothing` is the
// least: all that has to be in range for that row, too, beside elements of the largest size.
inline int exponent_to_take_out(double largest) {
  constexpr int kModerate = 40;
  if (largest == 0.0 || !std::isfinite(largest)) return 0;
  const int exponent = std::ilogb(largest);
  return std::abs(exponent) > kModerate ? exponent : 0;
}

}  // namespace tridiagonal

// These are eigenvalues from both ends of a spectrum inwards.
struct ExtremeEigenvalues {
  std::vector<double> smallest;  // ascending
  std::vector<double> largest;   // descending
};

// Returns the k smallest and the k largest eigenvalues of a matrix whose elements are at most 1e120
// in size. One task does it all: its steps are too short to be shared out.
template <class Device>
ExtremeEigenvalues extreme_eigenvalues(const Device& device,
                                       const SymmetricStorage<const double>& matrix, Index k,
                                       const Monitor& monitor) {
  const Index n = matrix.n();
  const Index rows = tridiagonal::whole_groups(n);
  const typename Device::template Buffer<double> work(rows, rows);
  const Matrix<double> square = work.view();
  const auto copy = SymmetricStorage<double>::full(square.block(0, n, 0, n));
  scale_and_shift(device, matrix, 1.0, 0.0, copy, monitor);
  const int exponent =
      tridiagonal::exponent_to_take_out(tridiagonal::largest_size(square.block(0, n, 0, n)));
  if (exponent != 0)
    scale_and_shift(device, matrix, std::ldexp(1.0, -exponent), 0.0, copy, monitor);
  ExtremeEigenvalues result;
  device.run(
      "eigenvalues", {1, elements_of(n) * static_cast<double>(n) / 24}, monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index /*task*/) {
        const Tridiagonal reduced = tridiagonal::reduced(lane, square, n);
        const tridiagonal::Bisection bisection(reduced);
        for (Index i = 0; i < k && !lane.stopped(); ++i) {
          result.smallest.push_back(std::ldexp(bisection.eigenvalue(i), exponent));
          result.largest.push_back(std::ldexp(bisection.eigenvalue(n - 1 - i), exponent));
        }
      });
  return result;
}

}  // namespace fastntk
