// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "cuda_runtime.h"

// This does what doctest's own function does, and sees that nothing is left on the device.
int main(int argc, char** argv) {
  const int failed = doctest::Context(argc, argv).run();
  if (fastntk::fake::live_objects != 0) {
    std::fprintf(stderr, "%zu objects were left on the device\n", fastntk::fake::live_objects);
    return 1;
  }
  return failed;
}
