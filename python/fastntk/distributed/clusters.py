# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cluster that a command is to hand its work to."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastntk._support import arguments
from fastntk.distributed.requirements import distributed

if TYPE_CHECKING:
    from collections.abc import Iterator

# A scheduler that does not answer for so long is not there.
_SECONDS = 10


@contextmanager
def connected(cluster: str) -> Iterator[Any]:
    """Yield a client of a cluster: "tcp://…" of a scheduler, or "local:N" for N processes here.

    Raises
    ------
    ValueError, TypeError
        If `cluster` is neither.
    ConnectionError
        If no scheduler answers there.
    """
    address = arguments.text(cluster, "cluster")
    local = re.fullmatch("local:([1-9][0-9]{0,3})", address)
    if not local and not re.match("(tcp|tls|ws|wss|ucx)://.", address):
        raise ValueError(
            f"cluster={address!r}: expected 'tcp://HOST:PORT' of a scheduler, or 'local:N' for N "
            "processes on this machine"
        )
    library = distributed()
    if local:
        count = int(local[1])
        cores = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": ":0"}
        with library.LocalCluster(**cores) as here, library.Client(here) as client:
            # A process that starts a lost worker again may give up when the machine is busy, and
            # without any worker what is to be done would wait for ever.
            here.adapt(minimum=count, maximum=count)
            yield client
        return
    try:
        client = library.Client(address, timeout=_SECONDS)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"cluster={address!r}: no scheduler answers there ({error}): expected the address that "
            "`dask scheduler` shows"
        ) from error
    with client:
        yield client
