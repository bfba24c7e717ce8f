"""Running the program: every error the user's way, never a traceback."""

from __future__ import annotations

import os
import sys

import typer

# Importing a module of commands adds them to the app.
from gallery.cli import asking, cleaning, enrolling, keeping, people, showing, teaching
from gallery.cli.app import app
from gallery.cli.output import ERROR, complain
from gallery.errors import GalleryError

COMMANDS = (enrolling, asking, cleaning, people, keeping, teaching, showing)


def main() -> None:
    """The program `gallery`."""
    _run(app)


def enroll_identity_main() -> None:
    """The program `enroll-identity`: `gallery enroll-identity`, with --home among its options."""
    _run(enrolling.alone)


def _run(program: typer.Typer) -> None:
    try:
        program()
    except GalleryError as error:
        complain(str(error))
    except BrokenPipeError:
        # Whoever read our output has stopped; keep Python from complaining about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        complain(f"{error.filename or 'the system'}: {error.strerror or error}")
    except MemoryError:
        complain("the memory is full; close other programs or use smaller photos")
    except Exception as error:
        if os.environ.get("GALLERY_TRACEBACK"):
            raise
        complain(
            f"this is a mistake in the program, please report it: {type(error).__name__}: {error}"
            " (GALLERY_TRACEBACK=1 shows where)"
        )
    sys.exit(ERROR)
