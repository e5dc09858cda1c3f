// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/host.hpp"

FASTNTK_HOST(, double)
FASTNTK_HOST_FLOAT64()
