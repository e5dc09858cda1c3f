// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/numpy.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "fastntk/matrix.hpp"
#include "fastntk/symmetric_storage.hpp"

// This is the one place where NumPy arrays become views. The Python package has converted and
// checked its user's arrays before; what is checked here is what memory safety rests on.
namespace fastntk::python {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

inline std::invalid_argument bad_argument(const std::string& name, const std::string& expected) {
  return std::invalid_argument(name + ": expected " + expected);
}

template <class T>
Matrix<const T> input_matrix(const Array<T>& array, Index cols, const std::string& name) {
  if (array.ndim() != 2 || array.shape(1) != cols) {
    throw bad_argument(name, "a matrix with " + std::to_string(cols) + " columns");
  }
  return {array.data(), array.shape(0), array.shape(1)};
}

template <class T>
Matrix<T> output_matrix(Array<T>& array, Index rows, Index cols, const std::string& name) {
  if (array.ndim() != 2 || array.shape(0) != rows || array.shape(1) != cols) {
    throw bad_argument(
        name, "a matrix of shape (" + std::to_string(rows) + ", " + std::to_string(cols) + ")");
  }
  return {array.mutable_data(), rows, cols};  // throws if the array is read-only
}

template <class T>
const T* input_vector(const Array<T>& array, Index size, const std::string& name) {
  if (array.ndim() != 1 || array.shape(0) != size) {
    throw bad_argument(name, "a vector of " + std::to_string(size) + " elements");
  }
  return array.data();
}

// Returns n of a packed matrix of so many elements, n(n+1)/2, or of one that is not much smaller.
inline Index packed_rows(Index size) {
  return static_cast<Index>((std::sqrt(8.0 * static_cast<double>(size) + 1) - 1) / 2);
}

// Symmetric matrices and Cholesky factors have two dimensions in the full layout, and one in the
// packed layout.
template <class T, class Data>
SymmetricStorage<T> symmetric_storage(const py::array& array, Data* data, const std::string& name) {
  if (array.ndim() == 2 && array.shape(0) == array.shape(1)) {
    return SymmetricStorage<T>::full(Matrix<T>(data, array.shape(0), array.shape(0)));
  }
  if (array.ndim() == 1) {
    const Index size = array.shape(0);
    const Index n = packed_rows(size);
    if (SymmetricStorage<T>::packed_size(n) == size) return SymmetricStorage<T>::packed(data, n);
  }
  throw bad_argument(name, "a square matrix or a packed one of n(n+1)/2 elements");
}

template <class T>
SymmetricStorage<const T> input_symmetric(const Array<T>& array, const std::string& name) {
  return symmetric_storage<const T>(array, array.data(), name);
}

template <class T>
SymmetricStorage<T> output_symmetric(Array<T>& array, const std::string& name) {
  return symmetric_storage<T>(array, array.mutable_data(), name);  // throws if it is read-only
}

}  // namespace fastntk::python
