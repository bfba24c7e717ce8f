"""Entry points of the programs `gallery` and `enroll-identity`."""

from __future__ import annotations

import atexit
import gc
import sys

from gallery.cli.exit_status import INTERRUPTED


def main(arguments: list[str] | None = None) -> None:
    """Run `gallery` and end the process. arguments : None is the command line's."""
    _start(sys.argv[1:] if arguments is None else arguments)


def enroll_identity_main() -> None:
    """Run `enroll-identity`, which is `gallery enroll-identity`."""
    _start(["enroll-identity", *sys.argv[1:]])


def _start(arguments: list[str]) -> None:
    # As it ends, Python looks for garbage among all that was imported: a sixth of a short command.
    atexit.register(gc.freeze)
    try:
        # Importing takes a moment, in which Ctrl-C must not show a traceback.
        from gallery.cli.run import run

        run(arguments)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
