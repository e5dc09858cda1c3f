# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradient descent on the weights of a network: `train` and the `History` that it returns.

`run` takes what a user asks for: `data` and `settings` check it, `loop` goes through the epochs,
`descent` takes the steps, `probe` follows the kernel, `checkpoints` keeps what is needed to go on,
`kept_networks` copies of the network, and `history` what came of it. Above them stand
`learning_rate_bound` and `learning_rate_search`.
"""

from fastntk.training.history import History
from fastntk.training.run import train

__all__ = ["History", "train"]
