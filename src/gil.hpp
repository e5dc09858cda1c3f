// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#if defined(__GLIBCXX__) && defined(__unix__)
#include <cxxabi.h>
#include <unistd.h>
#endif

// The interpreter lock, let go of and taken back, in daemon threads too.
//
// When Python has ended, up to version 3.13 it ends each thread that asks for the lock by
// pthread_exit, which unwinds the stack as an exception would. Where that comes to a destructor, or
// to a handler of all exceptions, the C++ library aborts the process. So such a thread waits, until
// the process is gone, as Python 3.14 has it.
namespace fastntk::python {

namespace py = pybind11;

// Calls what takes the lock; does not return where Python has ended.
template <class Take>
void take_lock(const Take& take) {
#if defined(__GLIBCXX__) && defined(__unix__)
  try {
    take();
  } catch (const abi::__forced_unwind&) {
    while (true) pause();  // to leave without passing the exception on is what aborts
  }
#else
  take();
#endif
}

// Lives where there is no lock.
class WithoutLock {
 public:
  WithoutLock() : thread_{PyEval_SaveThread()} {}
  ~WithoutLock() {
    take_lock([this] { PyEval_RestoreThread(thread_); });
  }
  WithoutLock(const WithoutLock&) = delete;
  WithoutLock& operator=(const WithoutLock&) = delete;
  WithoutLock(WithoutLock&&) = delete;
  WithoutLock& operator=(WithoutLock&&) = delete;

 private:
  PyThreadState* thread_;
};

// Lives where the lock is held again, in a thread that may have let go of it.
class WithLock {
 public:
  WithLock() {
    take_lock([this] { lock_.emplace(); });
  }

 private:
  std::optional<py::gil_scoped_acquire> lock_;
};

}  // namespace fastntk::python
