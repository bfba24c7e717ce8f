"""Who is this photo: exactly one person we know, or nobody?

from gallery import Gallery

with Gallery.open("people") as gallery:
    gallery.enroll("Grace Hopper", "grace.jpg")
    print(gallery.query("unknown.jpg").identity)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gallery.client import Client
    from gallery.gallery import Gallery

__all__ = ["Client", "Gallery"]


def __getattr__(name: str) -> object:
    # Opening the package must not load torch; asking for Gallery loads what it is made of.
    if name == "Client":
        from gallery.client import Client

        return Client
    if name == "Gallery":
        from gallery.gallery import Gallery

        return Gallery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
