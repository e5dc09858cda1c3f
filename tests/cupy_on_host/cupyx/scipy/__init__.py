# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The double of `cupyx.scipy`; see that of `cupy`."""
