// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/host_symmetric.hpp"

FASTNTK_HOST_SYMMETRIC()
