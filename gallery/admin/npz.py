"""A gallery's faces in an open form, a NumPy archive (.npz), and such a file into a gallery.

What an archive holds (no pickles; `numpy.load` reads it), for n faces of m identities:

    form            text: "face-gallery-faces-1"
    encoder         text (2,): the encoder's name, the SHA-256 of its weights (hexadecimal)
    names           texts (m), each once; or (n), one a face, where `owners` is missing
    external_ids, details (JSON), expires_at (ISO 8601)     texts (m), empty where there is none
    owners          int64 (n,): places in `names`
    encodings       float32 (n, 128), unit length
    norms, agreement    float32 (n,): see gallery.types.Encodings
    photos, photo_sha256    texts (n): what each was called, the file's hash (hexadecimal)
    sizes           int64 (n, 2): width, height of the upright photo
    boxes           float64 (n, 4);  landmarks  float64 (n, 5, 2): in its pixels
    probabilities, sharpness    float64 (n,);  views  int64 (n,), 1 to 10

`encoder`, `names` and `encodings` must be there; what else is missing is taken as unknown. Texts
are a JSON list in UTF-8, uint8 (b,): `json.loads(archive["names"].tobytes())`, since a NumPy array
of text is as wide as its longest; such an array (dtype U) may be given as well.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from gallery.config import MAX_VIEWS
from gallery.errors import DetailsInvalid, ExportUnusable, InvalidName, SettingInvalid
from gallery.names import checked_details, checked_external_id, checked_name, moment
from gallery.store import audit, bulk, faces
from gallery.store.database import Database
from gallery.store.records import ManyFaces, NewIdentity
from gallery.types import DIMENSION, Encodings, Float64, Int64, UInt8
from indexer.whole_file import written_whole

_FORM = "face-gallery-faces-1"
_UNIT_TOLERANCE = 1e-3
_TYPICAL_NORM, _TYPICAL_AGREEMENT = 1.42, 0.9977
"""Of the default encoder; what encodings from elsewhere are taken to have."""
_AT_ONCE = 20_000

Arrays = Mapping[str, Any]


def export_faces(database: Database, file: Path) -> int:
    """Write every enrolled face; returns how many. Raises OSError."""
    with database.writing() as session:
        audit.record(session, "export")
    with database.reading() as session:
        many = bulk.everything(session)
        encoder = faces.encoder(session) or ("", "")
    with written_whole(file) as out:
        np.savez(out, **_arrays(many, encoder))
    return len(many)


def _arrays(many: ManyFaces, encoder: tuple[str, str]) -> dict[str, Any]:
    people = many.identities
    return {
        "form": np.array(_FORM),
        "encoder": np.array(encoder),
        "names": _packed(p.name for p in people),
        "external_ids": _packed(p.external_id or "" for p in people),
        "details": _packed(json.dumps(p.details) for p in people),
        "expires_at": _packed(p.expires_at.isoformat() if p.expires_at else "" for p in people),
        "owners": many.owners,
        "encodings": many.encodings.vectors,
        "norms": many.encodings.norms,
        "agreement": many.encodings.agreement,
        "photos": _packed(many.photos),
        "photo_sha256": _packed(many.photo_sha256),
        "sizes": many.sizes,
        "boxes": many.boxes,
        "landmarks": many.landmarks,
        "probabilities": many.probabilities,
        "sharpness": many.sharpness,
        "views": many.views,
    }


def _packed(texts: Iterable[str]) -> UInt8:
    return np.frombuffer(json.dumps(list(texts), ensure_ascii=False).encode(), dtype=np.uint8)


def import_faces(
    database: Database,
    file: Path,
    encoder: tuple[str, str],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[int, int]:
    """Store the faces of a file; returns how many were added, and how many were there already.

    Nothing is stored unless all of it can be. An identity's faces are stored together, some 20,000
    faces a transaction; cut short, running it again adds what is missing.
    encoder : the gallery's, name and SHA-256 of the weights; the file's must be the same.
    Raises ExportUnusable.
    """
    many = _read(file, encoder)
    added = done = 0
    for rows in _portions(many.owners):
        with database.writing() as session:
            encoder_id = faces.encoder_id(session, *encoder)
            new = bulk.add_many(session, many.take(rows), encoder_id)
            audit.record(session, "import", outcome=f"{new} faces")
        added, done = added + new, done + len(rows)
        progress(done, len(many))
    return added, len(many) - added


def _portions(owners: Int64) -> Iterator[Int64]:
    """Rows by identity, so many at once; an identity with more is one portion."""
    order = np.argsort(owners, kind="stable")
    begins = np.flatnonzero(np.diff(owners[order], prepend=-1))
    start = 0
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        if end - start > _AT_ONCE and begin > start:
            yield order[start:begin]
            start = int(begin)
    if start < len(order):
        yield order[start:]


def _read(file: Path, encoder: tuple[str, str]) -> ManyFaces:
    try:
        # Opened here, since NumPy leaves a file open that it cannot read.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, BadZipFile) as error:
        raise _unusable(file, f"it is no NumPy archive: {error}") from error
    except (zlib.error, MemoryError) as error:
        raise _unusable(file, "it is damaged, or larger than the memory") from error
    try:
        return _checked(file, arrays, encoder)
    except (InvalidName, DetailsInvalid, SettingInvalid) as error:
        raise _unusable(file, str(error)) from error


def _checked(file: Path, arrays: Arrays, encoder: tuple[str, str]) -> ManyFaces:
    form = str(arrays.get("form", _FORM))
    if form != _FORM:
        raise _unusable(file, f"it has the form {form!r}, this program reads {_FORM!r}")
    for name in ("encoder", "names", "encodings"):
        if name not in arrays:
            raise _unusable(file, f"it has no {name!r}")
    vectors = arrays["encodings"]
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != DIMENSION:
        raise _unusable(
            file,
            f"encodings are {vectors.dtype} {vectors.shape}, expected float32 (n, {DIMENSION})",
        )
    n = len(vectors)
    theirs = tuple(str(part) for part in np.atleast_1d(arrays["encoder"]))
    if n and theirs != encoder:
        raise _unusable(
            file,
            f"its encodings are of {' '.join(theirs) or 'no encoder'}, this gallery's of"
            f" {' '.join(encoder)}; encodings of two encoders cannot be compared",
        )
    off = np.abs(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) - 1.0)
    bad = np.flatnonzero(~(off <= _UNIT_TOLERANCE))  # also NaN
    if len(bad):
        raise _unusable(
            file,
            f"encoding {bad[0]} is not of length 1 within {_UNIT_TOLERANCE} ({len(bad)} of {n});"
            " normalise them",
        )
    people, owners = _people(file, arrays, n)
    return ManyFaces(
        identities=people,
        owners=owners,
        encodings=Encodings(
            vectors,
            _numbers(file, arrays, "norms", (n,), _TYPICAL_NORM).astype(np.float32),
            _numbers(file, arrays, "agreement", (n,), _TYPICAL_AGREEMENT).astype(np.float32),
        ),
        photos=_texts(file, arrays, "photos", n) or tuple(f"{file.name} #{i}" for i in range(n)),
        photo_sha256=_hashes(file, arrays, n),
        sizes=_numbers(file, arrays, "sizes", (n, 2), 0.0).astype(np.int64),
        boxes=_numbers(file, arrays, "boxes", (n, 4), 0.0),
        landmarks=_numbers(file, arrays, "landmarks", (n, 5, 2), 0.0),
        probabilities=_numbers(file, arrays, "probabilities", (n,), 1.0),
        sharpness=_numbers(file, arrays, "sharpness", (n,), 0.0),
        views=_views(file, arrays, n),
    )


def _people(file: Path, arrays: Arrays, n: int) -> tuple[tuple[NewIdentity, ...], Int64]:
    given = _texts(file, arrays, "names")
    clean = {name: checked_name(name) for name in dict.fromkeys(given)}
    names = [clean[name] for name in given]
    if "owners" not in arrays:
        if len(names) != n:
            raise _unusable(file, f"it has {len(names)} names for {n} encodings, and no 'owners'")
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        owners = np.array([places[name] for name in names], dtype=np.int64)
        return tuple(NewIdentity(name, None, {}, None) for name in places), owners
    owners = arrays["owners"]
    if not np.issubdtype(owners.dtype, np.integer) or owners.shape != (n,):
        raise _unusable(file, f"owners are {owners.dtype} {owners.shape}, expected int64 ({n},)")
    if n and not (owners.min() >= 0 and owners.max() < len(names)):
        raise _unusable(file, f"owners reach from {owners.min()} to {owners.max()}, names are"
                              f" {len(names)}")  # fmt: skip
    if len(set(names)) != len(names):
        raise _unusable(file, "a name stands in it twice")
    m = len(names)
    external, details, expires = (
        _texts(file, arrays, name, m) or ("",) * m
        for name in ("external_ids", "details", "expires_at")
    )
    try:
        people = tuple(
            NewIdentity(
                name,
                checked_external_id(external[i]) or None,
                checked_details(
                    {str(k): str(v) for k, v in json.loads(details[i] or "{}").items()}
                ),
                moment(expires[i]) if expires[i] else None,
            )
            for i, name in enumerate(names)
        )
    except (ValueError, AttributeError) as error:
        raise _unusable(file, f"details or an expiry in it cannot be read: {error}") from error
    theirs = [person.external_id for person in people if person.external_id is not None]
    if len(set(theirs)) != len(theirs):
        raise _unusable(file, "an external id stands in it twice")
    return people, owners.astype(np.int64)


def _texts(file: Path, arrays: Arrays, name: str, count: int | None = None) -> tuple[str, ...]:
    """Empty when there are none. count : how many there must be."""
    if name not in arrays:
        return ()
    found = np.atleast_1d(arrays[name])
    if found.dtype.kind == "U":
        texts = found.tolist()
    else:
        try:
            texts = json.loads(found.astype(np.uint8, casting="safe").tobytes())
        except (ValueError, TypeError, RecursionError) as error:
            raise _unusable(file, f"{name} are no texts: {error}") from error
    whole = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not whole or count not in (None, len(texts)):
        raise _unusable(file, f"{name} are not {'a list of' if count is None else count} texts")
    return tuple(texts)


def _hashes(file: Path, arrays: Arrays, n: int) -> tuple[str, ...]:
    found = _texts(file, arrays, "photo_sha256", n)
    if not found:  # of the encoding, so that importing it twice adds nothing
        return tuple(hashlib.sha256(row.tobytes()).hexdigest() for row in arrays["encodings"])
    wrong = next(
        (i for i, text in enumerate(found) if not re.fullmatch("[0-9a-f]{64}", text)), None
    )
    if wrong is not None:
        raise _unusable(file, f"photo_sha256 {wrong} is {found[wrong]!r}, expected 64 hex digits")
    return found


def _views(file: Path, arrays: Arrays, n: int) -> Int64:
    found = _numbers(file, arrays, "views", (n,), 1.0)
    bad = np.flatnonzero((found < 1) | (found > MAX_VIEWS) | (found != np.floor(found)))
    if len(bad):
        raise _unusable(
            file,
            f"views {bad[0]} is {found[bad[0]]:g}, expected a whole number from 1 to {MAX_VIEWS};"
            " leave views out where they are unknown",
        )
    return found.astype(np.int64)


def _numbers(
    file: Path, arrays: Arrays, name: str, shape: tuple[int, ...], unknown: float
) -> Float64:
    if name not in arrays:
        return np.full(shape, unknown)
    found = arrays[name]
    if found.dtype.kind not in "fiu" or found.shape != shape:
        raise _unusable(file, f"{name} are {found.dtype} {found.shape}, expected numbers {shape}")
    if not np.isfinite(found).all():
        raise _unusable(file, f"{name} has values that are not finite")
    return np.asarray(found, dtype=np.float64)


def _unusable(file: Path, why: str) -> ExportUnusable:
    return ExportUnusable(f"{file} cannot be imported: {why}")
