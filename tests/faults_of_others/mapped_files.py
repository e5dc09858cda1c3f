# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The system ends a process that reads a mapped file which another program has cut."""

import os
import tempfile
from pathlib import Path

import numpy as np

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "kernel.npy"
    np.save(path, np.eye(300))
    K = np.load(path, mmap_mode="r")
    os.truncate(path, 128)
    print(K[200, 200])
