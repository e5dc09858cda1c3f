// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "borrowed_blas.hpp"

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
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

// Returns the size of an integer type by its name in C, or 0 when it is not known.
std::size_t integer_size(const std::string& type) {
  if (type == "int" || type == "int32_t") return 4;
  if (type == "int64_t" || type == "long long") return 8;
  if (type == "long") return sizeof(long);
  return 0;
}

bool names_real(const std::string& type, const char* c_name, const char* suffix) {
  return type == c_name || (type.size() > 2 && type.compare(type.size() - 2, 2, suffix) == 0);
}

// Whether the parameters are those of the pattern: c for char, i for an integer, r for a real
// number; all integers, and all real numbers, of one type each.
bool matches(const std::vector<std::string>& types, const std::string& pattern, const char* c_name,
             const char* suffix) {
  if (types.size() != pattern.size()) return false;
  const std::string& integer = types[pattern.find('i')];
  const std::string& real = types[pattern.find('r')];
  if (integer_size(integer) == 0 || !names_real(real, c_name, suffix)) return false;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const std::string& expected = pattern[i] == 'i' ? integer : real;
    if (types[i] != (pattern[i] == 'c' ? "char" : expected)) return false;
  }
  return true;
}

// These are the routines that a module of SciPy exports; all of them have to use the same integers.
class Library {
 public:
  explicit Library(const char* module)
      : module_(module), functions_(py::module_::import(module).attr("__pyx_capi__")) {}

  Routine routine(const std::string& name, const std::string& pattern) const {
    const auto capsule = functions_[name.c_str()].cast<py::capsule>();
    const char* signature = capsule.name();
    const auto types = parameter_types(signature == nullptr ? "" : signature);
    const bool single = name[0] == 's';
    if (!matches(types, pattern, single ? "float" : "double", single ? "_s" : "_d")) {
      throw py::import_error("fastntk cannot use this SciPy: the routine " + name + " of " +
                             module_ + " has the unexpected signature '" +
                             (signature == nullptr ? "" : signature) +
                             "'. Please report it, with your SciPy version.");
    }
    return {capsule.get_pointer(), integer_size(types[pattern.find('i')])};
  }

 private:
  const char* module_;
  py::object functions_;
};

struct Routines {
  Routine sgemm;
  Routine dgemm;
  Routine dsyrk;
  Routine dtrsm;
  Routine dpotrf;
};

template <class Int>
BlasTable<Int> table(const Routines& from) {
  return {reinterpret_cast<FortranGemm<float, Int>>(from.sgemm.pointer),
          reinterpret_cast<FortranGemm<double, Int>>(from.dgemm.pointer),
          reinterpret_cast<FortranSyrk<Int>>(from.dsyrk.pointer),
          reinterpret_cast<FortranTrsm<Int>>(from.dtrsm.pointer),
          reinterpret_cast<FortranPotrf<Int>>(from.dpotrf.pointer)};
}

constexpr const char* kLapack = "scipy.linalg.cython_lapack";

}  // namespace

Routine borrow_lapack(const std::string& name, const std::string& parameters) {
  return Library(kLapack).routine(name, parameters);
}

Blas borrow_blas() {
  const Library blas("scipy.linalg.cython_blas");
  const Library lapack(kLapack);
  const Routines routines{.sgemm = blas.routine("sgemm", "cciiirririrri"),
                          .dgemm = blas.routine("dgemm", "cciiirririrri"),
                          .dsyrk = blas.routine("dsyrk", "cciirrirri"),
                          .dtrsm = blas.routine("dtrsm", "cccciirriri"),
                          .dpotrf = lapack.routine("dpotrf", "cirii")};
  const std::size_t size = routines.sgemm.integer_size;
  for (const Routine& other : {routines.dgemm, routines.dsyrk, routines.dtrsm, routines.dpotrf}) {
    if (other.integer_size != size) {
      throw py::import_error(
          "fastntk cannot use this SciPy: its BLAS and LAPACK routines use integers of different "
          "sizes. Please report it, with your SciPy version.");
    }
  }
  if (size == sizeof(std::int32_t)) return table<std::int32_t>(routines);
  return table<std::int64_t>(routines);
}

}  // namespace fastntk::python
