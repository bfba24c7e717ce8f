"""Where a person can be found in a gallery's files: one who is in it, or one who is gone.

Of someone who is in it everything is known. Of someone who is gone nothing is, which is the point
of erasing: then the numbers are looked for where numbers are kept, and the name, and the encodings
of photos, where the user names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gallery.config import Settings
from gallery.erasure.search import Hit, looked_for, search, traces_of
from gallery.errors import IdentityNotFound
from gallery.matching.index import IndexCopy
from gallery.store import audit, identities, person_data
from gallery.store.change_log import to_scrub
from gallery.store.database import Database
from gallery.types import DIMENSION, Float32
from gallery.vision.pipeline import FacePipeline, PhotoSource, named


@dataclass(frozen=True)
class Looked:
    """A photo's faces: encodings float32 (n, 128), with every number of views that is used."""

    name: str
    sha256: str
    encodings: Float32


@dataclass(frozen=True)
class TraceReport:
    """here : the person is in the gallery, so that traces are right.

    clean : nothing is left of who is gone, and everything could be read.
    said : what was looked at, a line each.  hits : where a trace was found in a file.
    """

    here: bool
    clean: bool
    said: tuple[str, ...]
    hits: tuple[Hit, ...]
    files: int
    bytes: int


def look(eye: FacePipeline, source: PhotoSource, views: Sequence[int]) -> Looked:
    """Raises PhotoError."""
    photo = eye.open(source)
    found = eye.faces(photo)
    each = [eye.encode(photo, found, count).vectors for count in views]
    return Looked(named(source), photo.sha256, np.concatenate(each))


def trace_report(
    settings: Settings,
    database: Database,
    index: IndexCopy,
    who: str,
    photos: Sequence[Looked],
) -> TraceReport:
    """who : a name or an id. Raises SearchFailed, and IdentityNotFound for an id never given."""
    names: list[str] = []
    try:
        with database.reading() as session:
            found = person_data.of(session, identities.get(session, who).id, None)
        here, said, unfinished = True, [f"identity {found.identity_id} is in the gallery"], False
        encodings, pictures = found.encodings, found.pictures
        names, texts = list(found.names), list(found.texts)
    except IdentityNotFound:
        here = False
        said, unfinished = _gone(database, index, who)
        encodings, pictures = np.empty((0, DIMENSION), dtype=np.float32), ()
        names, texts = [] if who.isdecimal() else [who], []
    encodings = np.concatenate([encodings, *(photo.encodings for photo in photos)])
    texts += [text for photo in photos for text in (photo.name, photo.sha256)]
    looked = looked_for(names, texts)
    traces = traces_of(encodings, looked, pictures)
    looked_in = [folder for folder in (settings.home, settings.cache) if folder.is_dir()]
    result = search([*looked_in, database.file, index.file], traces)
    said.append(
        f"looked for {len(encodings)} encodings, {len(looked)} texts and {len(pictures)} pictures"
        f" in {result.files} files ({result.bytes:,} bytes) of"
        f" {' and '.join(map(str, looked_in))}"
    )
    plain = len(names) + len(texts) - len(looked)
    if plain:
        said.append(f"{plain} texts were not looked for: too short, or a mere number")
    if not here and not traces:
        said.append("name the person, or photos with --photo, to look for more than numbers")
    said += [f"{file} cannot be read" for file in result.unreadable]
    clean = not (here or unfinished or result.hits or result.unreadable)
    return TraceReport(here, clean, tuple(said), result.hits, result.files, result.bytes)


def _gone(database: Database, index: IndexCopy, who: str) -> tuple[list[str], bool]:
    """What the database and the index say of an id that is not there, or of a name.

    Also whether bytes of an erasure, or an index that does not agree, are left.
    """
    with database.reading() as session:
        if who.isdecimal() and int(who) > identities.newest(session):
            raise IdentityNotFound(f"no identity ever had the number {who}")
        unscrubbed = to_scrub(session) is not None
        erased = audit.erasures(session, int(who)) if who.isdecimal() else []
    said = [f"no identity {who} is in the gallery"]
    said += [
        f"erased at {entry.at:%Y-%m-%d %H:%M} UTC, erasure {entry.outcome}" for entry in erased
    ]
    wrong = index.problems() if index.saved else []
    said += wrong or ["the saved index holds the faces of the database and no other"]
    said.append(
        "bytes of an erasure are still in the files: run any command on this gallery"
        if unscrubbed
        else f"no erasure is unfinished; the database file has {database.free_pages()} free pages"
    )
    return said, unscrubbed or bool(wrong)
