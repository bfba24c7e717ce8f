"""Check a gallery and everything it depends on."""

from __future__ import annotations

import glob
import platform
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from gallery.config import Settings
from gallery.encoders.registry import default_kind
from gallery.encoders.weights import (
    ALL_WEIGHTS,
    DLIB_RESNET,
    MOBILEFACENET,
    NpmFile,
    WeightsSource,
)
from gallery.errors import GalleryError
from gallery.matching.fpir import fpir_statement
from gallery.matching.index import IndexReplica
from gallery.matching.lookalikes import look_alikes
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.photo_quality import judged, limits_for
from gallery.matching.scorer import Scorer
from gallery.networks.machine import machine_for
from gallery.progress import StepProgress, no_step_progress
from gallery.store import (
    audit,
    backups,
    encoders,
    faces,
    identities,
    kept_images,
    merges,
    orphans,
    reencoding,
)
from gallery.store.change_log import pending_scrub
from gallery.store.database import SCHEMA, Database
from gallery.store.encoders import EncoderState

_MAX_COMPARED, _MAX_LISTED = 20_000, 5
_ABANDONED_SECONDS = 3600.0  # no writer takes longer, so its file is left over
_PACKAGES = ("face-gallery", "torch", "facenet-pytorch", "faiss-cpu", "numpy", "sqlalchemy")


@dataclass(frozen=True)
class Finding:
    """The state of one part of a gallery.

    is_note : not a problem, but worth reading.
    """

    part: str
    ok: bool
    message: str
    is_note: bool = False


_Part = tuple[str, Callable[[], Finding | list[Finding]]]


def check(
    settings: Settings,
    database: Database,
    index: IndexReplica,
    scorer: Callable[[], Scorer],
    progress: StepProgress = no_step_progress,
) -> list[Finding]:
    """Check every part; first what is stored, then what loads the networks.

    progress : is told the part that is checked next.
    """
    parts: tuple[_Part, ...] = (
        *_stored_parts(settings, database, index),
        ("encoder", lambda: _encoder(database, settings)),
        ("head", lambda: _head(database, scorer)),
        ("weights", lambda: _weights(settings, database)),
        ("networks", lambda: _networks(settings)),
        ("versions", _versions),
    )
    return _findings(parts, progress)


def check_storage(settings: Settings, database: Database, index: IndexReplica) -> list[Finding]:
    """Check what is stored, without loading the networks."""
    return _findings(_stored_parts(settings, database, index), no_step_progress)


def _stored_parts(settings: Settings, database: Database, index: IndexReplica) -> tuple[_Part, ...]:
    return (
        ("home", lambda: _home(settings.home)),
        ("database", lambda: _database(database)),
        ("people", lambda: _people(database)),
        ("examples", lambda: _poor_examples(database)),
        ("index", lambda: _index(index)),
        ("audit trail", lambda: _trail(database, settings.audit_days)),
        ("backups", lambda: _backups(database)),
    )


def _findings(parts: Sequence[_Part], progress: StepProgress) -> list[Finding]:
    findings: list[Finding] = []
    for number, (name, examine) in enumerate(parts):
        progress(f"checking: {name}", number, len(parts))
        found = examine()
        findings += found if isinstance(found, list) else [found]
    progress("checking", len(parts), len(parts))
    return findings


def _versions() -> Finding:
    packages = (f"{package} {version(package)}" for package in _PACKAGES)
    return Finding("versions", True, ", ".join((f"python {platform.python_version()}", *packages)))


def _networks(settings: Settings) -> Finding:
    try:
        return Finding("networks", True, machine_for(settings).described())
    except GalleryError as error:
        return Finding("networks", False, str(error))


def _home(home: Path) -> Finding:
    files = exposed_files(home)
    if files:
        mode = stat.S_IMODE(files[0].lstat().st_mode)
        listed = f"{files[0]} (mode {mode:04o})"
        listed += f" and {len(files) - 1} more" if len(files) > 1 else ""
        message = f"other users can read {listed}; chmod 700 it, or run `gallery check --repair`"
        return Finding("home", False, message)
    unfinished = unfinished_files(home)
    if unfinished:
        names = ", ".join(file.name for file in unfinished[:3])
        message = f"unfinished files remain: {names}; run `gallery check --repair`"
        return Finding("home", False, message)
    return Finding("home", True, f"{home}, readable by its owner only")


def exposed_files(home: Path) -> list[Path]:
    """Files and folders, the home among them, that other users can read or change."""
    return [
        file
        for file in (home, *home.rglob("*"))
        if not file.is_symlink() and stat.S_IMODE(file.lstat().st_mode) & 0o077
    ]


def _database(database: Database) -> Finding:
    problems = database.problems()
    if database.read_only is not None:
        problems.append(f"nothing can be written: {database.read_only}")
    if problems:
        return Finding("database", False, "; ".join(problems[:5]))
    with database.reading() as session:
        identity_count, face_count = identities.count(session), faces.count(session)
        unscrubbed = pending_scrub(session) is not None
    if unscrubbed:
        message = (
            "the files still contain bytes of erased faces; stop other processes and run this again"
        )
        return Finding("database", False, message)
    stored = f"{_count(identity_count, 'identity', 'identities')}, {_count(face_count, 'face')}"
    message = f"schema {SCHEMA}, {stored}, intact"
    return Finding("database", True, message)


def unfinished_files(home: Path) -> list[Path]:
    """Files that a killed process left unfinished; none that may still be being written."""
    oldest = time.time() - _ABANDONED_SECONDS
    restores = home.parent.glob(f"{glob.escape(home.name)}.*.part")
    files = sorted([*home.glob("*.part"), *restores])
    return [file for file in files if file.lstat().st_mtime < oldest]


def _people(database: Database) -> Finding:
    with database.reading() as session:
        photos, empty = orphans.photo_count(session), orphans.identity_ids(session)
        expired = len(identities.expired_ids(session))
    if photos:
        stored = _count(photos, "stored photo has", "stored photos have")
        message = f"{stored} no face; run `gallery check --repair`"
        return Finding("people", False, message)
    if expired:
        overdue = _count(expired, "identity has", "identities have")
        message = f"{overdue} expired; `gallery expire` erases {'it' if expired == 1 else 'them'}"
        return Finding("people", False, message)
    if empty:  # possible after erasing single faces and then undoing a merge
        message = (
            "identities without a face, which no query can match:"
            f" {', '.join(map(str, empty[:10]))}; enrol photos of them, or run `gallery identities"
            " forget ID`"
        )
        return Finding("people", True, message, is_note=True)
    message = "every identity and every photo has a face; nobody has expired"
    return Finding("people", True, message)


def _poor_examples(database: Database) -> Finding:
    """The enrolled faces that find few further photos of their person; the worst are named."""
    with database.reading() as session:
        encoder = encoders.current(session)
        least = {} if encoder is None else limits_for(encoder.name).least
        below = faces.records_below(session, dict(least.values()))
        enrolled = judged(session, below)
    poor = sorted((f for f in enrolled if f.faults), key=lambda f: (-len(f.faults), f.norm))
    if not poor:
        return Finding("photos", True, "no face is a poor example of its person")
    listed = "; ".join(
        f"face {face.id} of {face.identity.name} ({', '.join(face.faults)})"
        for face in poor[:_MAX_LISTED]
    )
    more = f"; and {len(poor) - _MAX_LISTED} more" if len(poor) > _MAX_LISTED else ""
    message = (
        f"{_count(len(poor), 'face makes a poor example', 'faces make poor examples')} of"
        f" {'its' if len(poor) == 1 else 'their'} person: {listed}{more}; enrol better photos, and"
        " erase the poor ones by `gallery faces forget ID`"
    )
    return Finding("photos", True, message, is_note=True)


def _trail(database: Database, days: int) -> Finding:
    with database.reading() as session:
        problems, total = audit.problems(session), audit.count(session)
    if problems:
        return Finding("audit", False, f"the audit trail was tampered with: {'; '.join(problems)}")
    return Finding(
        "audit",
        True,
        f"{_count(total, 'entry', 'entries')}, intact; kept for {_count(days, 'day')}",
    )


def _backups(database: Database) -> Finding:
    with database.reading() as session:
        made = [backup for backup in backups.list_all(session) if backup.made]
    if not made:
        return Finding("backups", True, "no backup yet; `gallery backup FILE` makes one")
    latest = f"{made[-1].id} at {made[-1].created_at:%Y-%m-%d %H:%M} UTC"
    return Finding("backups", True, f"{len(made)} made, the latest {latest}")


def _index(index: IndexReplica) -> Finding:
    if not index.is_saved:
        return Finding("index", True, "not saved yet; it is built from the database when needed")
    problems = index.problems()
    if problems:
        message = f"{'; '.join(problems)}; the next query rebuilds it from the database"
        return Finding("index", False, message)
    stored = _count(len(index.catch_up()), "face")
    message = f"{stored}, consistent with the database; {index.described()}"
    if index.is_slow():
        message += "; `gallery check --repair` speeds it up"
    return Finding("index", True, message)


def _encoder(database: Database, settings: Settings) -> Finding:
    """The encoder in use, an unfinished re-encoding, and the way back."""
    with database.reading() as session:
        current = encoders.current(session)
        following = encoders.in_state(session, EncoderState.NEXT)
        previous = encoders.in_state(session, EncoderState.PREVIOUS)
        progress = None if following is None else reencoding.progress(session, following.id)
        unseen = reencoding.unencoded(session)
        pictures, size = kept_images.count_and_bytes(session)
    message = "none yet" if current is None else str(current)
    if current is None:
        first = settings.encoder or default_kind(settings.cache)
        message += f"; the first enrolment would take {first}"
    if current is not None and current.name == DLIB_RESNET.name and previous is None:
        better = MOBILEFACENET.name
        message += (
            f"; {better} finds more people: `gallery encoders --fetch {better}`, then `gallery"
            f" re-encode --encoder {better}`"
        )
    if pictures:
        message += f"; pictures of {_count(pictures, 'face')} are kept ({size / 2**20:.1f} MB)"
    if following is not None and progress is not None:
        message += (
            f"; {progress[0]} of {progress[1]} faces are re-encoded with {following}: run `gallery"
            " re-encode` again to continue"
        )
    if previous is not None:
        message += f"; `gallery re-encode --rollback` goes back to {previous}"
    if unseen:
        names = ", ".join(sorted({name for _, name, _ in unseen})[:_MAX_LISTED])
        message += (
            f"; no search finds {_count(len(unseen), 'face')} (of {names}), not encoded with this"
            " encoder: enrol the photos again, or run `gallery re-encode` with --photos FOLDER"
        )
    return Finding("encoder", not unseen, message)


def _head(database: Database, open_scorer: Callable[[], Scorer]) -> list[Finding]:
    try:
        scorer = open_scorer()
        statement = fpir_statement(database, scorer)
    except GalleryError as error:
        return [Finding("head", False, str(error))]
    return [
        Finding("head", True, statement.summary),
        _look_alikes(database, scorer, statement.point),
    ]


def _look_alikes(database: Database, scorer: Scorer, point: OperatingPoint) -> Finding:
    with database.reading() as session:
        if identities.count(session) > _MAX_COMPARED:
            message = f"not checked beyond {_MAX_COMPARED} identities; `gallery dedupe` finds them"
            return Finding("look-alikes", True, message)
        names = {record.id: record.name for record in identities.list_all(session)}
        stored, told_apart = faces.encodings_of(session, names), merges.distinct_pairs(session)
    pairs = [
        f"{names[pair.first]} and {names[pair.second]} ({min(pair.probability, 0.999):.1%})"
        for pair in look_alikes(stored, scorer, point)
        if (min(pair.first, pair.second), max(pair.first, pair.second)) not in told_apart
    ]
    if not pairs:
        message = "no two identities match each other"
        message += ", but for those marked as different people" if told_apart else ""
        return Finding("look-alikes", True, message)
    left = len(pairs) - _MAX_LISTED
    more = f", and {_count(left, 'more pair')}" if left > 0 else ""
    message = (
        f"{'; '.join(pairs[:_MAX_LISTED])}{more} may both match a query, which is then answered"
        " `ambiguous`; if they are one person, run `gallery identities merge`, if two, `gallery"
        " identities distinct`"
    )
    return Finding("look-alikes", True, message, is_note=True)


def _weights(settings: Settings, database: Database) -> list[Finding]:
    """The weights that come with a package, and those of the encoder in use."""
    from gallery.encoders.mobilefacenet_weights import mobilefacenet_state  # imports torch

    readers: list[tuple[WeightsSource | NpmFile, Callable[[], object]]] = [
        (source, source.read) for source in ALL_WEIGHTS
    ]
    with database.reading() as session:
        current = encoders.current(session)
    name = default_kind(settings.cache) if current is None else current.name
    if MOBILEFACENET.name in (name, (settings.encoder or "").partition(":")[0]):
        readers.append((MOBILEFACENET, lambda: mobilefacenet_state(settings.cache)))
    findings = []
    for source, read in readers:
        try:
            read()
        except GalleryError as error:
            findings.append(Finding(f"weights {source.name}", False, str(error)))
        else:
            message = f"SHA-256 {source.sha256[:12]}, licence {source.licence}"
            findings.append(Finding(f"weights {source.name}", True, message))
    return findings


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
