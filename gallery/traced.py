"""Where a person can be found in a gallery's files: one who is in it, or one who is gone.

Of someone who is in it everything is known. Of someone who is gone nothing is, which is the point
of erasing: then the numbers are looked for where numbers are kept, and the name, and the encodings
of photos, where the user names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.config import Settings
from gallery.errors import IdentityNotFound
from gallery.seeing import Eye, PhotoSource, named
from gallery.store import audit, faces, identities, remains
from gallery.store.changes import to_scrub
from gallery.store.database import Database
from gallery.sync import IndexCopy
from gallery.traces import Hit, search, traces_of
from gallery.types import DIMENSION, Float32


@dataclass(frozen=True)
class Looked:
    """A photo's faces: encodings float32 (n, 128), with every number of views that is used."""

    name: str
    sha256: str
    encodings: Float32


@dataclass(frozen=True)
class Tracing:
    """here : the person is in the gallery, so that traces are right.

    said : what was looked at, a line each.  hits : where a trace was found in a file.
    """

    here: bool
    said: tuple[str, ...]
    hits: tuple[Hit, ...]
    files: int
    bytes: int

    @property
    def clean(self) -> bool:
        """Nothing was found."""
        return not self.hits and not self.here


def look(eye: Eye, source: PhotoSource, views: Sequence[int]) -> Looked:
    """Raises PhotoError."""
    photo = eye.open(source)
    found = eye.faces(photo)
    each = [eye.encode(photo, found, count).vectors for count in views]
    return Looked(named(source), photo.sha256, np.concatenate(each))


def traced(
    settings: Settings,
    database: Database,
    index: IndexCopy,
    who: str,
    photos: Sequence[Looked],
) -> Tracing:
    """who : a name or an id. Raises SearchFailed, and IdentityNotFound for an id never given."""
    try:
        with database.reading() as session:
            found = remains.of(session, identities.get(session, who).id, None)
        here, said = True, [f"identity {found.identity_id} is in the gallery"]
        encodings, texts, pictures = found.encodings, list(found.texts), found.pictures
    except IdentityNotFound:
        here, said = False, _gone(database, index, who)
        encodings, pictures = np.empty((0, DIMENSION), dtype=np.float32), ()
        texts = [] if who.isdecimal() else [who]
    encodings = np.concatenate([encodings, *(photo.encodings for photo in photos)])
    texts += [text for photo in photos for text in (photo.name, photo.sha256)]
    traces = traces_of(encodings, texts, pictures)
    looked_in = _folders(settings)
    result = search(looked_in, traces)
    said.append(
        f"looked for {len(encodings)} encodings, {len(texts)} texts and {len(pictures)} pictures in"
        f" {result.files} files ({result.bytes:,} bytes) of {' and '.join(map(str, looked_in))}"
    )
    said += [f"{file} cannot be read" for file in result.unreadable]
    return Tracing(here, tuple(said), result.hits, result.files, result.bytes)


def _gone(database: Database, index: IndexCopy, who: str) -> list[str]:
    """What the database and the index say of an id that is not there, or of a name."""
    with database.reading() as session:
        if who.isdecimal() and int(who) > identities.newest(session):
            raise IdentityNotFound(f"no identity ever had the number {who}")
        unscrubbed = to_scrub(session) is not None
        free = database.free_pages()
        stored = faces.ids(session)
        erased = audit.erasures(session, int(who)) if who.isdecimal() else []
    said = [f"no identity {who} is in the gallery"]
    said += [
        f"erased at {entry.at:%Y-%m-%d %H:%M} UTC, receipt {entry.outcome}" for entry in erased
    ]
    if index.catch_up().ids().tolist() == stored:
        said.append("the index holds the faces of the database and no other")
    said.append(
        "bytes of an erasure are still in the files: run any command on this gallery"
        if unscrubbed
        else f"no erasure is unfinished; the database file has {free} free pages"
    )
    return said


def _folders(settings: Settings) -> list[Path]:
    return [folder for folder in (settings.home, settings.cache) if folder.is_dir()]
