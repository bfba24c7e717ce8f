"""The programs `gallery` and `enroll-identity`: the only ways in."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """The program `gallery`."""
    _start(alone=False)


def enroll_identity_main() -> None:
    """The program `enroll-identity`: `gallery enroll-identity`."""
    _start(alone=True)


def _start(*, alone: bool) -> None:
    try:
        from gallery.cli.run import run  # takes a second, in which Ctrl-C must not show a traceback

        run(alone=alone)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
