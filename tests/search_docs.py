# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: T201 (a script of the tests)
"""Searches the documentation, once it is built, in a browser without a window.

    python tests/search_docs.py DIRECTORY

The search runs in the reader's browser: no build of Sphinx shows whether it finds anything. Ends
with status 1 if a page is not found. Without Chromium or Chrome nothing is tried, and it says so.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# What somebody may look for, and the page that has to be among the first results.
WANTED = {
    "depth_study": "reference/generated/fastntk.depth_study.html",
    "kernel_drift": "reference/generated/fastntk.linearity.kernel_drift.html",
    "dask": "clusters.html",
    "unresolved": "how_to/precision.html",
}
FIRST = 5

# Of the browser's own clock, which does not wait where there is nothing to wait for.
MILLISECONDS = 20_000


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The files of a folder, without a line for each request."""

    def log_message(self, *_: object) -> None:
        pass


def results(browser: str, address: str) -> list[str]:
    """Return the pages that the search lists, best first."""
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, "--headless", "--disable-gpu", f"--user-data-dir={profile}", *as_root]
        command += [f"--virtual-time-budget={MILLISECONDS}", "--dump-dom", address]
        page = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    listed = page.partition('id="search-results"')[2]
    links = re.findall(r'<li class="kind-\w+"><a href="([^"#?]+)', listed)
    return list(dict.fromkeys(links))


def main() -> int:
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "searchindex.js").exists():
        print("expected the folder of the built documentation", file=sys.stderr)
        return 2
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"The search of the documentation is not tried: there is no {' or '.join(BROWSERS)}")
        return 0
    handler = functools.partial(Quiet, directory=sys.argv[1])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/search.html?q="
        found = {query: results(browser, address + query) for query in WANTED}
        server.shutdown()
    missing = [query for query, page in WANTED.items() if page not in found[query][:FIRST]]
    for query in missing:
        print(f"{query!r}: expected {WANTED[query]} among the first results, found {found[query]}")
    print(f"{len(WANTED) - len(missing)} of {len(WANTED)} searches found their page")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
