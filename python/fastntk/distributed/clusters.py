# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cluster that a command is to hand its work to."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastntk._support import arguments
from fastntk.distributed.requirements import dask, distributed

if TYPE_CHECKING:
    from collections.abc import Iterator

# A scheduler that does not answer for so long is not there.
_SECONDS = 10

# By default Dask looks a hundred times a second at what each worker does, and fifty times whether
# it still answers: a twentieth of a core in every process. And it has malloc return all memory at
# once, so that each tile, and each copy of one on its way to a store, comes in pages that are new:
# of a kernel into a store, that is an eighth of the processor's time. Blocks of up to 64 MiB are
# kept instead, of which 128 MiB may be free at the end of the heap.
OF_WORKERS = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**26,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**27,
}


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
        with (
            dask().config.set(OF_WORKERS),
            library.LocalCluster(**cores) as here,
            library.Client(here) as client,
        ):
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
