"""Run a command line: every error becomes a message, never a traceback."""

from __future__ import annotations

import os
import sys

from gallery.cli.app import app
from gallery.cli.exit_status import ERROR, INTERRUPTED
from gallery.cli.output import complain
from gallery.errors import GalleryError


def run(arguments: list[str]) -> None:
    """Run `gallery` with these arguments and end the process."""
    try:
        app(arguments, prog_name="gallery")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            complain("interrupted; what was stored stays, run the command again to finish")
        raise
    except GalleryError as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.filename or 'the system'}: {error.strerror or error}")
    except MemoryError:
        complain("out of memory; close other programs or use smaller photos")
    except Exception as error:
        if os.environ.get("GALLERY_TRACEBACK"):
            raise
        complain(
            f"this is a bug, please report it: {type(error).__name__}: {error}"
            " (set GALLERY_TRACEBACK=1 to see the traceback)"
        )
    sys.exit(ERROR)
