# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Python waits for ever for a thread that has a stack and no memory to begin with."""

import resource
import threading
from pathlib import Path

threading.stack_size(2**20)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**20 + 2**14  # the stack, and next to nothing
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
threading.Thread(target=print, args=("the thread has run",)).start()
print("the thread was started")
