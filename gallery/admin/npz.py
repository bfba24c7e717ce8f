"""Export a gallery's faces with their encodings to a NumPy archive (.npz), and import one.

Contents of an archive (no pickles; `numpy.load` reads it), for n faces of m identities:

    form            text: "face-gallery-faces-1"
    encoder         text (2,): the encoder's name, the SHA-256 of its weights (hexadecimal)
    names           texts (m), each once; or (n), one per face, if `owners` is missing
    external_ids, details (JSON), expires_at (ISO 8601)     texts (m), empty if not set
    owners          int64 (n,): positions in `names`
    encodings       float32 (n, 128), unit length
    norms, agreement    float32 (n,): see gallery.types.Encodings
    photos, photo_sha256    texts (n): name of each photo, SHA-256 of its file (hexadecimal)
    sizes           int64 (n, 2): width, height of the upright photo
    boxes           float64 (n, 4);  landmarks  float64 (n, 5, 2): in its pixels
    probabilities, sharpness    float64 (n,);  views  int64 (n,), 1 to 10
    taken           texts (n): when each photo was taken (1998, 1998-07, 1998-07-14), or empty

`encoder`, `names` and `encodings` are required; anything else missing counts as unknown. Texts are
a JSON list in UTF-8, uint8 (b,), `json.loads(archive["names"].tobytes())`, since a NumPy array of
text is as wide as its longest entry. An import also accepts such an array (dtype U).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from gallery.config import MAX_VIEWS
from gallery.dates import checked_date
from gallery.errors import DateInvalid, DetailsInvalid, ExportUnusable, InvalidName, SettingInvalid
from gallery.names import checked_details, checked_external_id, checked_name, folded, moment
from gallery.progress import Progress, no_progress
from gallery.store import audit, bulk, faces, identities
from gallery.store.database import Database, Session
from gallery.store.records import FaceBatch, NewIdentity
from gallery.types import DIMENSION, Encodings, Float64, Int64, UInt8
from indexer.whole_file import atomic_write

_FORM = "face-gallery-faces-1"
_UNIT_TOLERANCE = 1e-3
_TYPICAL_NORM, _TYPICAL_AGREEMENT = 1.42, 0.9977
"""Of the default encoder; assumed for encodings that come without these values."""
_FACES_PER_TRANSACTION = 20_000

Arrays = Mapping[str, Any]


def export_faces(database: Database, file: Path) -> int:
    """Write every enrolled face; return their number. Raises OSError."""
    with database.writing() as session:
        audit.record(session, "export")
    with database.reading() as session:
        stored = bulk.all_faces(session)
        encoder = faces.current_encoder(session) or ("", "")
    with atomic_write(file) as out:
        np.savez(out, **_arrays(stored, encoder))
    return len(stored)


def _arrays(stored: FaceBatch, encoder: tuple[str, str]) -> dict[str, Any]:
    people = stored.identities
    return {
        "form": np.array(_FORM),
        "encoder": np.array(encoder),
        "names": _packed(p.name for p in people),
        "external_ids": _packed(p.external_id or "" for p in people),
        "details": _packed(json.dumps(p.details) for p in people),
        "expires_at": _packed(p.expires_at.isoformat() if p.expires_at else "" for p in people),
        "owners": stored.owners,
        "encodings": stored.encodings.vectors,
        "norms": stored.encodings.norms,
        "agreement": stored.encodings.agreement,
        "photos": _packed(stored.photos),
        "photo_sha256": _packed(stored.photo_sha256),
        "sizes": stored.sizes,
        "boxes": stored.boxes,
        "landmarks": stored.landmarks,
        "probabilities": stored.probabilities,
        "sharpness": stored.sharpness,
        "views": stored.views,
        "taken": _packed(taken or "" for taken in stored.taken),
    }


def _packed(texts: Iterable[str]) -> UInt8:
    return np.frombuffer(json.dumps(list(texts), ensure_ascii=False).encode(), dtype=np.uint8)


def import_faces(
    database: Database,
    file: Path,
    encoder: tuple[str, str],
    progress: Progress = no_progress,
    *,
    new: bool = False,
    note: Callable[[str], None] = lambda _text: None,
) -> tuple[int, int]:
    """Store the faces of a file; return how many were added and how many were already enrolled.

    A name that nobody has means the only identity with a near name (see gallery.names.folded), and
    `note` is called with a sentence that says so. The same holds within a file without `owners`; in
    one with them, near names are different people's.

    The whole file is checked before anything is stored. Each transaction stores about 20,000 faces,
    and all faces of an identity together. After an interruption, run it again to add the rest.

    encoder : name and SHA-256 of the weights of the gallery's encoder; the file's must be the same.
    new : near names are other people's.
    Raises ExportUnusable, also if a name is near those of several identities.
    """
    read = _read(file, encoder)
    if not new:
        with database.reading() as session:
            read = _with_names_meant(session, file, read, note)
    added = done = 0
    for rows in _batches(read.owners):
        with database.writing() as session:
            encoder_id = faces.encoder_id(session, *encoder)
            stored = bulk.add_faces(session, read.take(rows), encoder_id)
            audit.record(session, "import", outcome=f"{stored} faces")
        added, done = added + stored, done + len(rows)
        progress(done, len(read))
    return added, len(read) - added


def _with_names_meant(
    session: Session, file: Path, read: FaceBatch, note: Callable[[str], None]
) -> FaceBatch:
    """The same faces, each under the exact name of the identity that its name means."""
    names = [person.name for person in read.identities]
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(folded(name), []).append(name)
    has_owners = "owners" in _arrays_in(file, ["owners"])
    known = identities.names_by_fold(session, spellings)
    meant: dict[str, str] = {}
    for fold, written in spellings.items():
        enrolled = known.get(fold, [])
        for name in written:
            if name in enrolled or (has_owners and len(written) > 1):
                continue
            if len(enrolled) > 1:
                raise _unusable(
                    file,
                    f"{name!r} may be {' or '.join(map(repr, enrolled))}; use the exact name"
                    " there, or new if it is another person",
                )
            if (other := (enrolled or written)[0]) != name:
                note(f"{name!r} is taken to be {other!r}; use new if it is another person")
                meant[name] = other
    if not meant:
        return read
    people = {meant.get(person.name, person.name): person for person in reversed(read.identities)}
    positions = {name: position for position, name in enumerate(people)}
    places = np.array([positions[meant.get(name, name)] for name in names], dtype=np.int64)
    return replace(
        read,
        identities=tuple(replace(person, name=name) for name, person in people.items()),
        owners=places[read.owners],
    )


def encoder_in(file: Path) -> str:
    """The name of the encoder of a file's encodings; "" if it has none. Raises ExportUnusable."""
    names = np.atleast_1d(_arrays_in(file, ["encoder"]).get("encoder", np.array("")))
    return str(names[0]) if len(names) else ""


def _batches(owners: Int64) -> Iterator[Int64]:
    """Rows in batches that never split an identity."""
    if not len(owners):
        return
    order = np.argsort(owners, kind="stable")
    firsts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    start = 0
    for first, end in zip(firsts, [*firsts[1:], len(order)], strict=True):
        if end - start > _FACES_PER_TRANSACTION and first > start:
            yield order[start:first]
            start = int(first)
    yield order[start:]


def _arrays_in(file: Path, only: Sequence[str] | None = None) -> Arrays:
    """The arrays of a NumPy archive, or only these. Raises ExportUnusable."""
    try:
        # NumPy does not close a file that it cannot read, so it is opened here.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            names = archive.files if only is None else set(archive.files) & set(only)
            return {name: archive[name] for name in names}
    except OSError as error:
        raise _unusable(file, f"it cannot be read: {error.strerror or error}") from error
    except (EOFError, ValueError, TypeError, AttributeError, BadZipFile) as error:
        raise _unusable(file, "it is not a NumPy archive (.npz), or is damaged") from error
    except (zlib.error, MemoryError) as error:
        raise _unusable(file, "it is damaged, or does not fit in memory") from error


def _read(file: Path, encoder: tuple[str, str]) -> FaceBatch:
    arrays = _arrays_in(file)
    try:
        return _checked(file, arrays, encoder)
    except (InvalidName, DetailsInvalid, DateInvalid, SettingInvalid) as error:
        raise _unusable(file, str(error)) from error


def _checked(file: Path, arrays: Arrays, encoder: tuple[str, str]) -> FaceBatch:
    form = str(arrays.get("form", _FORM))
    if form != _FORM:
        raise _unusable(file, f"its format is {form!r}, and this program reads {_FORM!r}")
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
    file_encoder = tuple(str(part) for part in np.atleast_1d(arrays["encoder"]))
    if n and file_encoder != encoder:
        raise _unusable(
            file,
            f"its encodings are from {' '.join(file_encoder) or 'no encoder'}, this gallery's from"
            f" {' '.join(encoder)}; encodings from different encoders cannot be compared",
        )
    deviations = np.abs(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) - 1.0)
    bad = np.flatnonzero(~(deviations <= _UNIT_TOLERANCE))  # catches NaN too
    if len(bad):
        raise _unusable(
            file,
            f"encoding {bad[0]} does not have unit length within {_UNIT_TOLERANCE} ({len(bad)} of"
            f" {n}); normalise them",
        )
    people, owners = _people(file, arrays, n)
    return FaceBatch(
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
        taken=tuple(
            checked_date(text) if text else None
            for text in _texts(file, arrays, "taken", n) or ("",) * n
        ),
    )


def _people(file: Path, arrays: Arrays, n: int) -> tuple[tuple[NewIdentity, ...], Int64]:
    texts = _texts(file, arrays, "names")
    checked = {text: checked_name(text) for text in dict.fromkeys(texts)}
    names = [checked[text] for text in texts]
    if "owners" not in arrays:
        if len(names) != n:
            raise _unusable(file, f"it has {len(names)} names for {n} encodings, and no 'owners'")
        positions = {name: position for position, name in enumerate(dict.fromkeys(names))}
        owners = np.array([positions[name] for name in names], dtype=np.int64)
        return tuple(NewIdentity(name, None, {}, None) for name in positions), owners
    owners = arrays["owners"]
    if not np.issubdtype(owners.dtype, np.integer) or owners.shape != (n,):
        raise _unusable(file, f"owners are {owners.dtype} {owners.shape}, expected int64 ({n},)")
    if n and not (owners.min() >= 0 and owners.max() < len(names)):
        raise _unusable(
            file,
            f"owners range from {owners.min()} to {owners.max()}, but there are {len(names)} names",
        )
    if len(set(names)) != len(names):
        raise _unusable(file, "it contains a name twice")
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
        raise _unusable(file, f"its details or expiry dates cannot be read: {error}") from error
    ids = [person.external_id for person in people if person.external_id is not None]
    if len(set(ids)) != len(ids):
        raise _unusable(file, "it contains an external id twice")
    return people, owners.astype(np.int64)


def _texts(file: Path, arrays: Arrays, name: str, count: int | None = None) -> tuple[str, ...]:
    """The texts of an array, empty if it is missing. count : how many there must be."""
    if name not in arrays:
        return ()
    array = np.atleast_1d(arrays[name])
    if array.dtype.kind == "U":
        texts = array.tolist()
    else:
        try:
            texts = json.loads(array.astype(np.uint8, casting="safe").tobytes())
        except (ValueError, TypeError, RecursionError) as error:
            raise _unusable(file, f"{name} are not texts: {error}") from error
    is_valid = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not is_valid or count not in (None, len(texts)):
        raise _unusable(file, f"{name} are not {'a list of' if count is None else count} texts")
    return tuple(texts)


def _hashes(file: Path, arrays: Arrays, n: int) -> tuple[str, ...]:
    hashes = _texts(file, arrays, "photo_sha256", n)
    if not hashes:  # hash the encodings instead, so that importing them twice adds nothing
        return tuple(hashlib.sha256(row.tobytes()).hexdigest() for row in arrays["encodings"])
    for i, text in enumerate(hashes):
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise _unusable(file, f"photo_sha256 {i} is {text!r}, expected 64 hex digits")
    return hashes


def _views(file: Path, arrays: Arrays, n: int) -> Int64:
    views = _numbers(file, arrays, "views", (n,), 1.0)
    bad = np.flatnonzero((views < 1) | (views > MAX_VIEWS) | (views != np.floor(views)))
    if len(bad):
        raise _unusable(
            file,
            f"views {bad[0]} is {views[bad[0]]:g}, expected a whole number from 1 to {MAX_VIEWS};"
            " leave the array out if the numbers are unknown",
        )
    return views.astype(np.int64)


def _numbers(
    file: Path, arrays: Arrays, name: str, shape: tuple[int, ...], default: float
) -> Float64:
    if name not in arrays:
        return np.broadcast_to(default, shape)  # one number in memory
    array = arrays[name]
    if array.dtype.kind not in "fiu" or array.shape != shape:
        raise _unusable(file, f"{name} are {array.dtype} {array.shape}, expected numbers {shape}")
    if not np.isfinite(array).all():
        raise _unusable(file, f"{name} has values that are not finite")
    return np.asarray(array, dtype=np.float64)


def _unusable(file: Path, reason: str) -> ExportUnusable:
    return ExportUnusable(f"{file} cannot be imported: {reason}")
