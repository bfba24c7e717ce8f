"""Running the program: every error the user's way, never a traceback."""

from __future__ import annotations

import os
import sys

# Importing a module of commands adds them to the app.
from gallery.cli import (
    backup,
    calibrate,
    dedupe,
    demo,
    encoders,
    enroll,
    evaluate,
    export,
    guide,
    identities,
    keys,
    query,
    reencode,
    serve,
    train,
)
from gallery.cli.app import app
from gallery.cli.main import INTERRUPTED
from gallery.cli.output import ERROR, complain
from gallery.errors import GalleryError

COMMANDS = (
    enroll,
    query,
    dedupe,
    identities,
    export,
    backup,
    train,
    encoders,
    reencode,
    calibrate,
    evaluate,
    demo,
    serve,
    keys,
    guide,
)


_OWN_ENCODER = {"train-head", "re-encode", "encoders"}
"""Commands to which --encoder means another encoder than the gallery's own."""


def run(*, alone: bool) -> None:
    """Run `gallery`, or `enroll-identity` alone, which is one of its commands; ends the process."""
    command = [enroll.COMMAND] if alone else []
    sys.argv = ["gallery", *_first([*command, *sys.argv[1:]])]
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            complain("stopped; what was reported is kept, and running it again goes on from there")
        raise
    except GalleryError as error:
        complain(str(error))
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


def _first(arguments: list[str]) -> list[str]:
    """What belongs before the command, from wherever it was put."""
    for option in ("--weights", "--encoder", "--home"):
        if option == "--home" or not _OWN_ENCODER & set(arguments):
            arguments = _moved(arguments, option)
    return arguments


def _moved(arguments: list[str], option: str) -> list[str]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for i, argument in enumerate(arguments[:end]):
        if argument == option and i + 1 < end:
            return [*arguments[i : i + 2], *arguments[:i], *arguments[i + 2 :]]
        if argument.startswith(f"{option}="):
            return [argument, *arguments[:i], *arguments[i + 1 :]]
    return arguments
