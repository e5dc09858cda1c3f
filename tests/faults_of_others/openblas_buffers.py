# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""OpenBLAS ends the process where a thread that multiplies finds no memory for its buffer."""

import os
import resource
import threading
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np

A = np.eye(1000)
products = [np.empty_like(A) for _ in range(4)]
all_begun = threading.Barrier(4)


def multiply(k: int) -> None:
    all_begun.wait()
    for _ in range(3):
        np.matmul(A, A, out=products[k])


pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 24 * 2**20  # not enough for a buffer
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
threading.stack_size(2**20)
threads = [threading.Thread(target=multiply, args=(k,)) for k in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("all have multiplied")
