"""Who is meant by a name on the command line. A name that is only near is never taken silently."""

from __future__ import annotations

import sys

from gallery.cli.output import note
from gallery.errors import IdentityNotFound
from gallery.gallery import Gallery
from gallery.names import checked_name, folded
from gallery.store.records import IdentityRecord


def identity_meant(gallery: Gallery, name: str) -> IdentityRecord:
    """The identity of a name or id; says so on stderr if its name is not exactly this one."""
    record, _ = gallery.identity(name)
    if _is_near(name, record):
        note(f"{name!r} is taken to be {record.name!r}")
    return record


def is_exact(name: str, record: IdentityRecord) -> bool:
    """Whether this is exactly the identity's name, or its id; if not, the user must be asked.

    Raises IdentityNotFound if there is nobody to ask.
    """
    if not _is_near(name, record):
        return True
    if not sys.stdin.isatty():
        raise IdentityNotFound(
            f"there is no identity {name!r}; if you mean {record.name!r}, use that exact spelling"
        )
    return False


def _is_near(name: str, record: IdentityRecord) -> bool:
    return checked_name(name) != record.name and folded(name) == folded(record.name)
