// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/amx.hpp"

#include <algorithm>
#include <cstdint>

#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) || __GNUC__ >= 12)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(__clang__) && __GNUC__ < 13
// GCC warns of its own header (bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

// Functions with this attribute are called only where why_not() is null.
#define FASTNTK_AMX __attribute__((target("amx-tile,amx-bf16,avx512f")))

// NOLINTBEGIN(portability-simd-intrinsics): without them there are no tiles.
// NOLINTBEGIN(modernize-avoid-c-arrays): std::array ignores the alignment of vectors.

namespace fastntk::amx {

namespace {

using bfloat16::kPanel;
using bfloat16::kParts;
using bfloat16::kPartWords;
using bfloat16::kStepWords;
using bfloat16::kTile;
using bfloat16::kTileWords;

constexpr int kBytesOfARow = 64;  // of a tile

const char* find_out() {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  constexpr unsigned int kBfloat16 = 1U << 22U;
  constexpr unsigned int kTiles = 1U << 24U;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kBfloat16) == 0 ||
      (edx & kTiles) == 0 || static_cast<int>(__builtin_cpu_supports("avx512f")) == 0) {
    return "the processor has no AMX for bfloat16";
  }
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) {
    return "the operating system does not let this process use AMX";
  }
  return nullptr;
}

// There are eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes_of_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// This is not an automatic variable, because compilers think that only its first bytes are read.
constexpr TileConfiguration kConfiguration;

// GCC ignores the attribute of constructors and destructors.
FASTNTK_AMX void configure() { _tile_loadconfig(&kConfiguration); }
FASTNTK_AMX void release() { _tile_release(); }

// Selects the first n of 16 lanes.
FASTNTK_AMX inline __mmask16 first_lanes(Index n) {
  return static_cast<__mmask16>((1U << static_cast<unsigned int>(std::clamp<Index>(n, 0, kTile))) -
                                1U);
}

// Loads row i of a block; what the block lacks is 0.
FASTNTK_AMX inline __m512 load(const Matrix<const float>& block, __mmask16 lanes, Index i) {
  return i < block.rows ? _mm512_maskz_loadu_ps(lanes, block.row(i)) : _mm512_setzero_ps();
}

// Exchanges the off-diagonal blocks of size × size elements within blocks of twice that.
template <unsigned int size>
FASTNTK_AMX inline void exchange(__m512 (&rows)[kTile]) {
  alignas(64) static constexpr struct Lanes {
    std::uint32_t upper[kTile] = {};
    std::uint32_t lower[kTile] = {};
    constexpr Lanes() {
      for (std::uint32_t j = 0; j < kTile; ++j) {
        upper[j] = (j & size) == 0 ? j : kTile + j - size;
        lower[j] = (j & size) == 0 ? j + size : kTile + j;
      }
    }
  } kLanes;
  const __m512i upper = _mm512_load_si512(kLanes.upper);
  const __m512i lower = _mm512_load_si512(kLanes.lower);
#pragma GCC unroll 16
  for (unsigned int i = 0; i < kTile; ++i) {
    if ((i & size) != 0) continue;
    const __m512 a = rows[i];
    const __m512 b = rows[i + size];
    rows[i] = _mm512_permutex2var_ps(a, upper, b);
    rows[i + size] = _mm512_permutex2var_ps(a, lower, b);
  }
}

FASTNTK_AMX inline void load_transposed(const Matrix<const float>& block, __m512 (&rows)[kTile]) {
  const __mmask16 lanes = first_lanes(block.cols);
#pragma GCC unroll 16
  for (Index i = 0; i < kTile; ++i) rows[i] = load(block, lanes, i);
  exchange<8>(rows);
  exchange<4>(rows);
  exchange<2>(rows);
  exchange<1>(rows);
}

// Writes the words of terms p and p + 16, for each part. Halves are rounded away from 0.
FASTNTK_AMX inline void split(__m512 low, __m512 high, std::uint32_t* words) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
#pragma GCC unroll 3
  for (Index part = 0; part < kParts; ++part) {
    __m512i a = _mm512_castps_si512(low);
    __m512i b = _mm512_castps_si512(high);
    if (part + 1 < kParts) {  // the last part is left as it is
      a = _mm512_add_epi32(a, half);
      b = _mm512_add_epi32(b, half);
    }
    b = _mm512_and_si512(b, upper);
    _mm512_store_si512(words + part * kPartWords, _mm512_or_si512(_mm512_srli_epi32(a, 16), b));
    low = _mm512_sub_ps(low, _mm512_castsi512_ps(_mm512_and_si512(a, upper)));
    high = _mm512_sub_ps(high, _mm512_castsi512_ps(b));
  }
}

// Four rows are read before they are written: those of a large matrix often lie a power of two
// apart, and then a row cannot be read until the one before is seen to be another.
FASTNTK_AMX inline void deliver_rows(const bfloat16::Delivery& to, Index first, Index end) {
  constexpr Index kRows = 4;
  const __mmask16 left = first_lanes(to.c.cols);
  const __mmask16 right = first_lanes(to.c.cols - kTile);
  const __m512 alpha = _mm512_set1_ps(to.alpha);
  end = std::min(end, to.c.rows);
  for (; first < end; first += kRows) {
    __m512 a[kRows];
    __m512 b[kRows];
#pragma GCC unroll 4
    for (Index i = 0; i < kRows; ++i) {
      if (first + i >= end) break;
      a[i] = _mm512_mul_ps(alpha, _mm512_load_ps(to.sums + (first + i) * kPanel));
      b[i] = _mm512_mul_ps(alpha, _mm512_load_ps(to.sums + (first + i) * kPanel + kTile));
      if (to.write == Write::accumulate) {
        const float* const c = to.c.row(first + i);
        a[i] = _mm512_add_ps(a[i], _mm512_maskz_loadu_ps(left, c));
        b[i] = _mm512_add_ps(b[i], _mm512_maskz_loadu_ps(right, c + kTile));
      }
    }
#pragma GCC unroll 4
    for (Index i = 0; i < kRows; ++i) {
      if (first + i >= end) break;
      float* const c = to.c.row(first + i);
      _mm512_mask_storeu_ps(c, left, a[i]);
      _mm512_mask_storeu_ps(c + kTile, right, b[i]);
    }
  }
}

}  // namespace

const char* why_not() {
  static const char* const reason = find_out();
  return reason;
}

Unit::Session::Session() { configure(); }
Unit::Session::~Session() { release(); }

FASTNTK_AMX void Unit::pack(const bfloat16::TileSource& source, std::uint32_t* words) {
  if (!source.transposed) {
    const __mmask16 low = first_lanes(source.low.cols);
    const __mmask16 high = first_lanes(source.high.cols);
    for (Index i = 0; i < kTile; ++i) {
      split(load(source.low, low, i), load(source.high, high, i), words + i * kTile);
    }
    return;
  }
  // The registers suffice for one of the two blocks, so the other one waits in memory.
  alignas(64) float low[kTileWords];
  __m512 rows[kTile];
  load_transposed(source.low, rows);
#pragma GCC unroll 16
  for (Index i = 0; i < kTile; ++i) _mm512_store_ps(low + i * kTile, rows[i]);
  load_transposed(source.high, rows);
#pragma GCC unroll 16
  for (Index i = 0; i < kTile; ++i) {
    split(_mm512_load_ps(low + i * kTile), rows[i], words + i * kTile);
  }
}

// Tiles 0 … 3 are the sums, 4 and 5 a part of the left panel, 6 and 7 one of the right. From one
// product of parts to the next, one of them changes. The vector units deliver in the meantime.
FASTNTK_AMX void Unit::multiply(const std::uint32_t* left, const std::uint32_t* right, Index steps,
                                float* sums, const bfloat16::Delivery& previous) {
#define FASTNTK_LEFT(part)                                  \
  _tile_loadd(4, left + (part) * kPartWords, kBytesOfARow); \
  _tile_loadd(5, left + (part) * kPartWords + kTileWords, kBytesOfARow)
#define FASTNTK_RIGHT(part)                                  \
  _tile_loadd(6, right + (part) * kPartWords, kBytesOfARow); \
  _tile_loadd(7, right + (part) * kPartWords + kTileWords, kBytesOfARow)
#define FASTNTK_MULTIPLY   \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const Index share = steps == 0 ? 0 : (kPanel + steps - 1) / steps;
  Index delivered = 0;
  for (Index step = 0; step < steps; ++step) {
    FASTNTK_LEFT(0);
    FASTNTK_RIGHT(2);
    FASTNTK_MULTIPLY;
    FASTNTK_RIGHT(1);
    FASTNTK_MULTIPLY;
    FASTNTK_LEFT(1);
    FASTNTK_MULTIPLY;
    deliver_rows(previous, delivered, delivered + share);
    delivered += share;
    FASTNTK_RIGHT(0);
    FASTNTK_MULTIPLY;
    FASTNTK_LEFT(2);
    FASTNTK_MULTIPLY;
    FASTNTK_LEFT(0);
    FASTNTK_MULTIPLY;
    left += kStepWords;
    right += kStepWords;
  }
  deliver_rows(previous, delivered, kPanel);
  constexpr int kBytesOfSums = kPanel * sizeof(float);
  _tile_stored(0, sums, kBytesOfSums);
  _tile_stored(1, sums + kTile, kBytesOfSums);
  _tile_stored(2, sums + kTile * kPanel, kBytesOfSums);
  _tile_stored(3, sums + kTile * kPanel + kTile, kBytesOfSums);
#undef FASTNTK_MULTIPLY
#undef FASTNTK_RIGHT
#undef FASTNTK_LEFT
}

FASTNTK_AMX void Unit::deliver(const bfloat16::Delivery& delivery) {
  deliver_rows(delivery, 0, kPanel);
}

}  // namespace fastntk::amx

// NOLINTEND(modernize-avoid-c-arrays)
// NOLINTEND(portability-simd-intrinsics)

#else

namespace fastntk::amx {

const char* why_not() { return "fastntk was built for another processor or by an older compiler"; }

Unit::Session::Session() = default;
Unit::Session::~Session() = default;
void Unit::pack(const bfloat16::TileSource& /*source*/, std::uint32_t* /*words*/) {}
void Unit::multiply(const std::uint32_t* /*left*/, const std::uint32_t* /*right*/, Index /*steps*/,
                    float* /*sums*/, const bfloat16::Delivery& /*previous*/) {}
void Unit::deliver(const bfloat16::Delivery& /*delivery*/) {}

}  // namespace fastntk::amx

#endif

namespace fastntk::amx {

bool worthwhile(Index rows, Index cols, Index terms) {
  constexpr Index kEnoughOfAPanel = 24;
  return std::min(rows, cols) >= kEnoughOfAPanel && terms >= bfloat16::kTerms;
}

}  // namespace fastntk::amx
