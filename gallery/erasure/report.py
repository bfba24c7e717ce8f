"""Report traces of a person, enrolled or erased, in a gallery's files.

For someone enrolled, everything to search for is known. For someone erased nothing is, which is the
point of erasing: the report then checks the id in the database and the index, and searches for the
name and for the encodings of photos if the user supplies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gallery.config import Settings
from gallery.erasure.search import (
    Hit,
    Traces,
    search,
    searchable_texts,
    searched_folders,
)
from gallery.errors import IdentityNotFound
from gallery.matching.index import IndexReplica
from gallery.store import audit, identities, person_data
from gallery.store.change_log import pending_scrub
from gallery.store.database import Database
from gallery.types import DIMENSION, Float32
from gallery.vision.photo_source import PhotoSource, source_name
from gallery.vision.pipeline import FacePipeline


@dataclass(frozen=True)
class EncodedPhoto:
    """The faces of a photo.

    encodings : float32 (n, 128), each face with every number of views that the gallery uses.
    """

    name: str
    sha256: str
    encodings: Float32


@dataclass(frozen=True)
class TraceReport:
    """The result of a search for a person.

    is_enrolled : the person is enrolled, so that traces are expected.
    clean : the person is erased, no trace was found, and every file could be read.
    lines : what was searched, line by line.  hits : the traces that were found.
    files, bytes : how much was searched.
    """

    is_enrolled: bool
    clean: bool
    lines: tuple[str, ...]
    hits: tuple[Hit, ...]
    files: int
    bytes: int


def encode_photo(pipeline: FacePipeline, source: PhotoSource, views: Sequence[int]) -> EncodedPhoto:
    """Encode every face in a photo, with each number of views. Raises PhotoError."""
    photo = pipeline.open(source)
    faces = pipeline.faces(photo)
    encodings = [pipeline.encode(photo, faces, count).vectors for count in views]
    return EncodedPhoto(source_name(source), photo.sha256, np.concatenate(encodings))


def trace_report(
    settings: Settings,
    database: Database,
    index: IndexReplica,
    who: str,
    photos: Sequence[EncodedPhoto],
) -> TraceReport:
    """Search home and cache for a person.

    who : a name or an id.  photos : also search for the encodings of these.
    Raises SearchFailed, and IdentityNotFound for an id that was never used.
    """
    names: list[str] = []
    try:
        with database.reading() as session:
            remains = person_data.collect(
                session, identities.get(session, who, exact=True).id, None
            )
        is_enrolled, is_unfinished = True, False
        lines = [f"identity {remains.identity_id} is in the gallery"]
        encodings, pictures = remains.encodings, remains.images
        names, texts = list(remains.names), list(remains.texts)
    except IdentityNotFound:
        is_enrolled = False
        lines, is_unfinished = _erased(database, index, who)
        encodings, pictures = np.empty((0, DIMENSION), dtype=np.float32), ()
        names, texts = [] if who.isdecimal() else [who], []
        with database.reading() as session:
            close = identities.near(session, who)
        lines += [
            f"{other.name} (id {other.id}), a near name, is in the gallery" for other in close
        ]
    encodings = np.concatenate([encodings, *(photo.encodings for photo in photos)])
    texts += [text for photo in photos for text in (photo.name, photo.sha256)]
    searched = searchable_texts(names, texts)
    traces = Traces(encodings, searched, pictures)
    folders = [folder for folder in (settings.home, settings.cache) if folder.is_dir()]
    searched_in = searched_folders(settings.home, settings.cache)
    result = search([*searched_in, database.file, index.file], traces)
    lines.append(
        f"searched for {len(encodings)} encodings, {len(searched)} texts and {len(pictures)}"
        f" pictures in {result.files} files ({result.bytes:,} bytes) of"
        f" {' and '.join(map(str, folders))}"
    )
    skipped = len(names) + len(texts) - len(searched)
    if skipped:
        lines.append(f"{skipped} texts were not searched for: too short, or only a number")
    if not (is_enrolled or len(encodings) or searched):
        lines.append("give the name, or photos with --photo, to search for more than the id")
    lines += [f"cannot read {file}" for file in result.unreadable]
    clean = not (is_enrolled or is_unfinished or result.hits or result.unreadable)
    return TraceReport(is_enrolled, clean, tuple(lines), result.hits, result.files, result.bytes)


def _erased(database: Database, index: IndexReplica, who: str) -> tuple[list[str], bool]:
    """Report lines about someone who is not enrolled, from the database and the index.

    Also returns whether an erasure is unfinished or the index inconsistent.
    """
    with database.reading() as session:
        if who.isdecimal() and int(who) > identities.newest_id(session):
            raise IdentityNotFound(f"no identity ever had the id {who}")
        unscrubbed = pending_scrub(session) is not None
        erasures = audit.erasures(session, int(who)) if who.isdecimal() else []
    lines = [f"no identity {who} is in the gallery"]
    lines += [
        f"erased at {entry.at:%Y-%m-%d %H:%M} UTC, erasure {entry.outcome}" for entry in erasures
    ]
    problems = index.problems() if index.is_saved else []
    lines += problems or ["the saved index contains the faces of the database and no others"]
    lines.append(
        "an erasure is unfinished: run any command on this gallery to finish it"
        if unscrubbed
        else f"no erasure is unfinished; the database file has {database.free_pages()} free pages"
    )
    return lines, unscrubbed or bool(problems)
