// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>

#include "fastntk/bfloat16_products.hpp"
#include "fastntk/matrix.hpp"

// Intel's Advanced Matrix Extensions: a unit of each core for products of matrices of bfloat16, in
// processors from Sapphire Rapids (2023) on.
namespace fastntk::amx {

// Says why the unit cannot be used, as a sentence without a full stop; returns null if it can. The
// first call asks the operating system for the permission that a process needs.
const char* why_not();

// The functions are those that bfloat16_products.hpp asks for. They may be called only where
// why_not() is null.
struct Unit {
  class Session {
   public:
    Session();
    ~Session();
    Session(const Session&) = delete;
    Session(Session&&) = delete;
    Session& operator=(const Session&) = delete;
    Session& operator=(Session&&) = delete;
  };

  static void pack(const bfloat16::TileSource& source, std::uint32_t* words);
  static void multiply(const std::uint32_t* left, const std::uint32_t* right, Index steps,
                       float* sums, const bfloat16::Delivery& previous);
  static void deliver(const bfloat16::Delivery& delivery);
};

using Products = Bfloat16Products<Unit>;

// Whether the unit multiplies so many rows, columns and terms faster than a BLAS.
bool worthwhile(Index rows, Index cols, Index terms);

}  // namespace fastntk::amx
