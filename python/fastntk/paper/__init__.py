# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The paper, reproduced: its figures and tables, its statements with verdicts, and one page of all.

C. Liu, H. Bi, L. Hui, X. Liu, "Better NTK conditioning: a free lunch from (ReLU) nonlinear
activation in wide neural networks", arXiv 2305.08813.
"""

from fastntk.paper.reproduction import figure, reproduce, table

__all__ = ["figure", "reproduce", "table"]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)
