// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "fastntk/host.hpp"
#include "gil.hpp"
#include "on_host.hpp"
#include "py_device.hpp"

// These functions on symmetric matrices run on the processor alone.
namespace fastntk::python {

template <class From, class To>
void py_scale_and_shift(const Array<From>& from, To sign, To shift, Array<To>& to, int threads,
                        const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto source = input_symmetric<From>(from, "source");
  const auto target = output_symmetric<To>(to, "target");
  if (source.n() != target.n()) throw bad_argument("target", "as many rows as source");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  scale_and_shift(device, source, sign, shift, target, on_progress);
}

// Returns n, or the pivot that is not positive.
inline Index py_cholesky(Array<double>& matrix, int threads, const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto storage = output_symmetric<double>(matrix, "matrix");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  try {
    cholesky(device, storage, cholesky_blocks(storage.n()), on_progress);
  } catch (const NotPositiveDefinite& failure) {
    return failure.pivot();
  }
  return storage.n();
}

// tile −= a bᵀ
inline void py_downdate_tile(const Array<double>& a, const Array<double>& b, Array<double>& tile,
                             int threads, const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto left = input_matrix<double>(a, a.ndim() == 2 ? a.shape(1) : -1, "a");
  const auto right = input_matrix<double>(b, left.cols, "b");
  const auto target = output_matrix<double>(tile, left.rows, right.rows, "tile");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  downdate_tile(device, left, right, target, on_progress);
}

// tile = tile L⁻ᵀ
inline void py_solve_tile_below(const Array<double>& triangle, Array<double>& tile, int threads,
                                const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto target = output_matrix<double>(tile, tile.ndim() == 2 ? tile.shape(0) : -1,
                                            tile.ndim() == 2 ? tile.shape(1) : -1, "tile");
  const auto lower = input_matrix<double>(triangle, target.cols, "triangle");
  if (lower.rows != target.cols) throw bad_argument("triangle", "as many rows as columns");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  solve_tile_below(device, lower, target, on_progress);
}

// out (m, k) = A vectors, or Aᵀ vectors
inline void py_few_products(const Array<double>& matrix, bool transpose,
                            const Array<double>& vectors, Array<double>& out, int threads,
                            const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto a = input_matrix<double>(matrix, matrix.ndim() == 2 ? matrix.shape(1) : -1, "matrix");
  const auto v =
      input_matrix<double>(vectors, vectors.ndim() == 2 ? vectors.shape(1) : -1, "vectors");
  if (v.rows != (transpose ? a.rows : a.cols)) throw bad_argument("vectors", "fitting rows");
  if (v.cols > few_vectors::kMost) throw bad_argument("vectors", "at most few_vectors columns");
  const auto target = output_matrix<double>(out, transpose ? a.cols : a.rows, v.cols, "out");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  few_products(device, a, transpose, v, target, on_progress);
}

template <class T>
void py_symmetric_product(const Array<T>& matrix, const Array<T>& vectors, Array<T>& out,
                          int threads, const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto storage = input_symmetric<T>(matrix, "matrix");
  const auto v =
      output_matrix<T>(out, storage.n(), vectors.ndim() == 2 ? vectors.shape(1) : -1, "out");
  const auto given = input_matrix<T>(vectors, v.cols, "vectors");
  if (given.rows != storage.n()) throw bad_argument("vectors", "as many rows as the matrix");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  symmetric_product(device, storage, given, v, on_progress);
}

// vectors = (L Lᵀ)⁻¹ vectors
inline void py_cholesky_solve(const Array<double>& factor, Array<double>& vectors, int threads,
                              const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto storage = input_symmetric<double>(factor, "factor");
  const auto v = output_matrix<double>(vectors, storage.n(),
                                       vectors.ndim() == 2 ? vectors.shape(1) : -1, "vectors");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  triangular_solve(device, storage, false, v, on_progress);
  triangular_solve(device, storage, true, v, on_progress);
}

inline Triangle triangle_named(const std::string& name) {
  if (name == "lower") return Triangle::lower;
  if (name == "upper") return Triangle::upper;
  throw bad_argument("kept", R"("lower" or "upper")");
}

// Overwrites one triangle with the mirror image of the other, which is kept.
template <class T>
void py_mirror(Array<T>& matrix, const std::string& kept, int threads,
               const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const Index n = matrix.ndim() == 2 ? matrix.shape(0) : -1;
  const auto square = output_matrix<T>(matrix, n, n, "matrix");
  const Triangle triangle = triangle_named(kept);
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  mirror(device, square, triangle, on_progress);
}

// Returns (max |a_ij − a_ji|, Σ a_ij²).
template <class T>
std::pair<double, double> py_symmetry(const Array<T>& matrix, int threads,
                                      const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto a = input_matrix<T>(matrix, matrix.ndim() == 2 ? matrix.shape(0) : -1, "matrix");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  const Symmetry found = symmetry(device, a, on_progress);
  return {found.difference, found.squares};
}

// Returns the k smallest eigenvalues, ascending, and the k largest, descending.
inline std::pair<std::vector<double>, std::vector<double>> py_extreme_eigenvalues(
    const Array<double>& matrix, Index k, int threads, const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto storage = input_symmetric<double>(matrix, "matrix");
  if (k < 1 || k > storage.n()) throw bad_argument("k", "between 1 and the number of rows");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  ExtremeEigenvalues found = extreme_eigenvalues(device, storage, k, on_progress);
  return {std::move(found.smallest), std::move(found.largest)};
}

// Returns (vᵀA v/vᵀv, ‖A v‖/‖v‖), or None where the decomposition does not run to its end.
inline std::optional<std::pair<double, double>> py_shifted_end(const Array<double>& matrix,
                                                               double sign, double shift,
                                                               const Array<double>& start,
                                                               Index iterations, int threads,
                                                               const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto storage = input_symmetric<double>(matrix, "matrix");
  const auto vector = input_matrix<double>(start, 1, "start");
  if (vector.rows != storage.n()) throw bad_argument("start", "as many rows as the matrix");
  const Monitor on_progress = python_monitor(monitor);
  ShiftedEnd found{};
  {
    const WithoutLock no_lock;
    found = shifted_end(device, storage, sign, shift, vector, iterations, on_progress);
  }
  if (found.good < storage.n()) return std::nullopt;
  return std::pair{found.quotient, found.length};
}

// This is (shift, vᵀA v/vᵀv, ‖A v‖/‖v‖).
using PyEnd = std::tuple<double, double, double>;

inline PyEnd py_end(const EndAtShift& end) {
  return {end.shift, end.found.quotient, end.found.length};
}

// Σ a_ij², the k smallest eigenvalues, the k largest, the lower end, the upper one.
using PySpectrum =
    std::tuple<double, std::vector<double>, std::vector<double>, PyEnd, std::optional<PyEnd>>;

template <class T>
std::optional<PySpectrum> py_few_rows_spectrum(const Array<T>& matrix, Index k,
                                               const Array<double>& start, Index iterations,
                                               bool both) {
  const HostDevice device = host_device(1);
  const Index n = matrix.ndim() == 2 ? matrix.shape(0) : -1;
  const auto a = input_matrix<T>(matrix, n, "matrix");
  if (n < 1 || n > few_rows::kMost) throw bad_argument("matrix", "rows, but only few");
  const auto vector = input_matrix<double>(start, 1, "start");
  if (vector.rows != n) throw bad_argument("start", "as many rows as the matrix");
  if (k < 1 || k > n) throw bad_argument("k", "between 1 and the number of rows");
  std::optional<FewRowsSpectrum> found;
  {
    const WithoutLock no_lock;
    found = few_rows_spectrum<HostDevice, T>(device, a, k, vector.data, iterations, both, nullptr);
  }
  if (!found) return std::nullopt;
  std::optional<PyEnd> largest;
  if (found->largest) largest = py_end(*found->largest);
  return PySpectrum{found->squares, std::move(found->values.smallest),
                    std::move(found->values.largest), py_end(found->smallest), largest};
}

inline void register_symmetric(py::module_& module) {
  const auto copy = [&](auto function) {
    module.def("scale_and_shift", function, py::arg("source").noconvert(), py::arg("sign"),
               py::arg("shift"), py::arg("target").noconvert(), py::arg("threads"),
               py::arg("monitor"),
               "target = sign · source + shift · 1, on and below the diagonal. Both are symmetric "
               "matrices: square, or packed and of one dimension.");
  };
  copy(&py_scale_and_shift<float, float>);
  copy(&py_scale_and_shift<float, double>);
  copy(&py_scale_and_shift<double, double>);
  const auto mirror = [&](auto function) {
    module.def("mirror", function, py::arg("matrix").noconvert(), py::arg("kept"),
               py::arg("threads"), py::arg("monitor"),
               "Overwrites one triangle of a square matrix with the mirror image of the other, the "
               "one that is kept (\"lower\" or \"upper\").");
  };
  mirror(&py_mirror<float>);
  mirror(&py_mirror<double>);
  const auto symmetry = [&](auto function) {
    module.def("symmetry", function, py::arg("matrix").noconvert(), py::arg("threads"),
               py::arg("monitor"),
               "(max |a_ij − a_ji|, Σ a_ij²) of a square matrix; the sum is finite only if all "
               "elements are.");
  };
  symmetry(&py_symmetry<float>);
  symmetry(&py_symmetry<double>);
  const auto product = [&](auto function) {
    module.def("symmetric_product", function, py::arg("matrix").noconvert(),
               py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
               py::arg("monitor"),
               "out (n, k) = K vectors (n, k), from the lower triangle of a square K, or from a "
               "packed one.");
  };
  product(&py_symmetric_product<float>);
  product(&py_symmetric_product<double>);
  module.def(
      "cholesky", &py_cholesky, py::arg("matrix").noconvert(), py::arg("threads"),
      py::arg("monitor"),
      "Overwrites the lower triangle of a square matrix, or a packed matrix, with its Cholesky "
      "factor. Returns n, or the number of the first pivot that is not positive and finite.");
  module.def("downdate_tile", &py_downdate_tile, py::arg("a").noconvert(), py::arg("b").noconvert(),
             py::arg("tile").noconvert(), py::arg("threads"), py::arg("monitor"),
             "tile (m, n) −= a bᵀ; if a is b, in the lower triangle alone.");
  module.def("solve_tile_below", &py_solve_tile_below, py::arg("triangle").noconvert(),
             py::arg("tile").noconvert(), py::arg("threads"), py::arg("monitor"),
             "tile (m, n) = tile L⁻ᵀ, with the lower triangle L of a square matrix.");
  module.def("few_products", &py_few_products, py::arg("matrix").noconvert(), py::arg("transpose"),
             py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg("threads"),
             py::arg("monitor"), "out = A vectors, or Aᵀ vectors, of at most few_vectors vectors.");
  module.def("cholesky_solve", &py_cholesky_solve, py::arg("factor").noconvert(),
             py::arg("vectors").noconvert(), py::arg("threads"), py::arg("monitor"),
             "vectors (n, k) = (L Lᵀ)⁻¹ vectors, for a square or packed factor L.");
  module.def("extreme_eigenvalues", &py_extreme_eigenvalues, py::arg("matrix").noconvert(),
             py::arg("k"), py::arg("threads"), py::arg("monitor"),
             "The k smallest eigenvalues, ascending, and the k largest, descending, of a square or "
             "packed matrix whose elements are at most 1e120 in size.");
  const auto few = [&](auto function) {
    module.def("few_rows_spectrum", function, py::arg("matrix").noconvert(), py::arg("k"),
               py::arg("start").noconvert(), py::arg("iterations"), py::arg("both"),
               "(Σ a_ij², the k smallest eigenvalues, ascending, the k largest, descending, lower "
               "end, upper end or None) of a square matrix of at most few_rows rows. An "
               "end is (shift, vᵀA v/vᵀv, ‖A v‖/‖v‖), as of shifted_end, where ±A + shift · 1 has "
               "a Cholesky decomposition. None instead of all where one look is not enough: where "
               "an end has none, or A is not symmetric to the last bit, finite and of moderate "
               "scale.");
  };
  few(&py_few_rows_spectrum<float>);
  few(&py_few_rows_spectrum<double>);
  module.def("shifted_end", &py_shifted_end, py::arg("matrix").noconvert(), py::arg("sign"),
             py::arg("shift"), py::arg("start").noconvert(), py::arg("iterations"),
             py::arg("threads"), py::arg("monitor"),
             "(vᵀA v/vᵀv, ‖A v‖/‖v‖) of a square or packed matrix A, for the v that so many steps "
             "of inverse iteration with sign · A + shift · 1 make of start (n, 1). None if that "
             "has no Cholesky decomposition.");
}

}  // namespace fastntk::python
