// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "borrowed_blas.hpp"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

namespace py = pybind11;

namespace fastntk::python {

namespace {

// What Cython writes as the name of a capsule is the C signature of the function in it, for GEMM
//   void (char *, char *, int *, int *, int *, D *, D *, int *, D *, int *, D *, D *, int *)
// with D a typedef of double (or float) whose name ends in _d (or _s).
std::vector<std::string> parameter_types(const std::string& signature) {
  const std::string prefix = "void (";
  if (!signature.starts_with(prefix) || signature.back() != ')') return {};
  std::istringstream list(signature.substr(prefix.size(), signature.size() - prefix.size() - 1));
  std::vector<std::string> types;
  for (std::string type; std::getline(list, type, ',');) {
    type.erase(0, type.find_first_not_of(' '));
    const std::size_t star = type.rfind(" *");
    if (star == std::string::npos || star + 2 != type.size()) return {};
    types.push_back(type.substr(0, star));
  }
  return types;
}

// The size of an integer type by its name in C; 0 when it is not known.
std::size_t integer_size(const std::string& type) {
  if (type == "int" || type == "int32_t") return 4;
  if (type == "int64_t" || type == "long long") return 8;
  if (type == "long") return sizeof(long);
  return 0;
}

bool all_equal(const std::vector<std::string>& types, std::initializer_list<std::size_t> where) {
  return std::ranges::all_of(where,
                             [&](std::size_t i) { return types[i] == types[*where.begin()]; });
}

bool names_real(const std::string& type, const char* c_name, const char* suffix) {
  return type == c_name || (type.size() > 2 && type.compare(type.size() - 2, 2, suffix) == 0);
}

struct Gemm {
  void* pointer;
  std::size_t integer_size;
};

Gemm gemm_of(const py::object& functions, const char* name, const char* c_name,
             const char* suffix) {
  const auto capsule = functions[name].cast<py::capsule>();
  const char* signature = capsule.name();
  const auto types = parameter_types(signature == nullptr ? "" : signature);
  const bool gemm = types.size() == 13 && types[0] == "char" && types[1] == "char" &&
                    all_equal(types, {2, 3, 4, 7, 9, 12}) && all_equal(types, {5, 6, 8, 10, 11}) &&
                    names_real(types[5], c_name, suffix) && integer_size(types[2]) != 0;
  if (!gemm) {
    throw py::import_error(std::string("fastntk cannot use this SciPy: the BLAS routine ") + name +
                           " of scipy.linalg.cython_blas has the unexpected signature '" +
                           (signature == nullptr ? "" : signature) +
                           "'. Please report it, with your SciPy version.");
  }
  return {capsule.get_pointer(), integer_size(types[2])};
}

template <class Int>
BlasTable<Int> table(const Gemm& sgemm, const Gemm& dgemm) {
  return {reinterpret_cast<FortranGemm<float, Int>>(sgemm.pointer),
          reinterpret_cast<FortranGemm<double, Int>>(dgemm.pointer)};
}

}  // namespace

Blas borrow_blas() {
  const py::object functions = py::module_::import("scipy.linalg.cython_blas").attr("__pyx_capi__");
  const Gemm sgemm = gemm_of(functions, "sgemm", "float", "_s");
  const Gemm dgemm = gemm_of(functions, "dgemm", "double", "_d");
  if (sgemm.integer_size == sizeof(std::int32_t)) return table<std::int32_t>(sgemm, dgemm);
  return table<std::int64_t>(sgemm, dgemm);
}

}  // namespace fastntk::python
