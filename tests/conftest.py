# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Settings for all tests."""

from hypothesis import settings

# Machines are shared and noisy: a slow example is no failure.
settings.register_profile("fastntk", deadline=None, max_examples=40)
settings.load_profile("fastntk")
