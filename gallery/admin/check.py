"""The state of a gallery and of what it needs, in words."""

from __future__ import annotations

import glob
import platform
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from gallery.config import Settings
from gallery.encoders.weights import ALL_WEIGHTS
from gallery.errors import GalleryError
from gallery.matching.fpir import promise
from gallery.matching.index import IndexCopy
from gallery.matching.lookalikes import look_alikes
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.store import (
    audit,
    backups,
    encoders,
    faces,
    identities,
    kept_images,
    orphans,
    reencoding,
)
from gallery.store.change_log import to_scrub
from gallery.store.database import SCHEMA, Database
from gallery.store.encoders import EncoderState

_MOST_LOOKED_AT, _MOST_NAMED = 20_000, 5
_ABANDONED = 3600.0  # seconds: what a writer has not finished by then it never will
_PACKAGES = ("face-gallery", "torch", "facenet-pytorch", "faiss-cpu", "numpy", "sqlalchemy")


@dataclass(frozen=True)
class Finding:
    """One part, whether it is well, and what was seen."""

    part: str
    ok: bool
    message: str


def check(
    settings: Settings, database: Database, index: IndexCopy, judge: Callable[[], Scorer]
) -> list[Finding]:
    """Look at every part."""
    return [
        *kept(settings, database, index),
        _encoder(database),
        *_head(database, judge),
        *_weights(),
        Finding(
            "versions",
            True,
            ", ".join(
                (f"python {platform.python_version()}", *(f"{p} {version(p)}" for p in _PACKAGES))
            ),
        ),
    ]


def kept(settings: Settings, database: Database, index: IndexCopy) -> list[Finding]:
    """Look at what is kept, without the networks."""
    return [
        _home(settings.home),
        _database(database),
        _people(database),
        _index(index),
        _trail(database, settings.audit_days),
        _backups(database),
    ]


def _home(home: Path) -> Finding:
    files = open_to_others(home)
    if files:
        mode = stat.S_IMODE(files[0].lstat().st_mode)
        named = f"{files[0]} (mode {mode:04o})"
        named += f" and {len(files) - 1} more" if len(files) > 1 else ""
        said = f"others may read {named}; chmod 700 it, or `gallery check --repair`"
        return Finding("home", False, said)
    left = abandoned(home)
    if left:
        names = ", ".join(part.name for part in left[:3])
        said = f"half-written files are left: {names}; `gallery check --repair`"
        return Finding("home", False, said)
    return Finding("home", True, f"{home}, all in it readable by its owner alone")


def open_to_others(home: Path) -> list[Path]:
    """The home, and what is in it, that others may read or change."""
    found = [home, *home.rglob("*")]
    return [f for f in found if not f.is_symlink() and stat.S_IMODE(f.lstat().st_mode) & 0o077]


def _database(database: Database) -> Finding:
    problems = database.problems()
    if problems:
        return Finding("database", False, "; ".join(problems[:5]))
    with database.reading() as session:
        people, count = identities.count(session), faces.count(session)
        unscrubbed = to_scrub(session) is not None
    if unscrubbed:
        said = "bytes of erased faces are still in the files; stop other processes and run it again"
        return Finding("database", False, said)
    return Finding("database", True, f"schema {SCHEMA}, {people} identities, {count} faces, whole")


def abandoned(home: Path) -> list[Path]:
    """What a killed process left half-written in the home; none that may be being written now."""
    oldest = time.time() - _ABANDONED
    beside = home.parent.glob(f"{glob.escape(home.name)}.*.part")  # a restore's
    found = sorted([*home.glob("*.part"), *beside])
    return [f for f in found if f.lstat().st_mtime < oldest]


def _people(database: Database) -> Finding:
    with database.reading() as session:
        photos, empty = orphans.photos(session), orphans.people(session)
        due = len(identities.expired(session))
    if photos:
        said = f"{photos} photos are kept that no face is of; `gallery check --repair`"
        return Finding("people", False, said)
    if due:
        said = f"{due} identities have expired; `gallery expire` erases them"
        return Finding("people", False, said)
    if empty:  # faces can be erased one by one, and a merge taken back after that
        said = (
            f"identities without a face, whom nobody can match: {', '.join(map(str, empty[:10]))};"
            " enrol photos of them, or `gallery identities forget ID`"
        )
        return Finding("people", True, said)
    return Finding("people", True, "every identity has a face, every photo too; nobody has expired")


def _trail(database: Database, days: int) -> Finding:
    with database.reading() as session:
        problems, count = audit.problems(session), audit.count(session)
    if problems:
        return Finding("audit", False, f"the trail was tampered with: {'; '.join(problems)}")
    return Finding("audit", True, f"{count} entries, whole; kept for {days} days")


def _backups(database: Database) -> Finding:
    with database.reading() as session:
        made = [backup for backup in backups.list_all(session) if backup.made]
    if not made:
        return Finding("backups", True, "none was made; `gallery backup FILE` makes one")
    last = f"{made[-1].id} at {made[-1].created_at:%Y-%m-%d %H:%M} UTC"
    return Finding("backups", True, f"{len(made)} made, the last {last}")


def _index(index: IndexCopy) -> Finding:
    if not index.saved:
        return Finding("index", True, "not saved yet; it is built from the database when asked")
    problems = index.problems()
    if problems:
        said = f"{'; '.join(problems)}; it is built again from the database at the next query"
        return Finding("index", False, said)
    return Finding("index", True, f"{len(index.catch_up())} faces, agrees with the database")


def _encoder(database: Database) -> Finding:
    """Which encoder is in use, and what stands beside it."""
    with database.reading() as session:
        now = encoders.current(session)
        following = encoders.in_state(session, EncoderState.NEXT)
        last = encoders.in_state(session, EncoderState.PREVIOUS)
        progress = None if following is None else reencoding.done(session, following.id)
        unseen = reencoding.unseen(session)
        kept, size = kept_images.size(session)
    said = "none yet" if now is None else str(now)
    if kept:
        said += f"; pictures of {kept} faces are kept ({size / 2**20:.1f} MB)"
    if following is not None and progress is not None:
        said += (
            f"; {progress[0]} of {progress[1]} faces are re-encoded with {following}: `gallery"
            " re-encode` again goes on"
        )
    if last is not None:
        said += f"; `gallery re-encode --rollback` goes back to {last}"
    if unseen:
        names = ", ".join(sorted({name for _, name, _ in unseen})[:_MOST_NAMED])
        said += (
            f"; not found, since it has not seen them: {len(unseen)} faces (of {names}); enrol"
            " their photos again, or `gallery re-encode` with --photos FOLDER"
        )
    return Finding("encoder", not unseen, said)


def _head(database: Database, judge: Callable[[], Scorer]) -> list[Finding]:
    try:
        judging = judge()
        found = promise(database, judging)
    except GalleryError as error:
        return [Finding("head", False, str(error))]
    return [Finding("head", True, found.said), _look_alikes(database, judging, found.point)]


def _look_alikes(database: Database, judge: Scorer, point: OperatingPoint) -> Finding:
    with database.reading() as session:
        names = {record.id: record.name for record in identities.list_all(session)}
        if len(names) > _MOST_LOOKED_AT:
            said = f"not looked for beyond {_MOST_LOOKED_AT} identities; `gallery dedupe` does"
            return Finding("look-alikes", True, said)
        stored = faces.encodings_of(session, names)
    pairs = [
        f"{names[p.first]} and {names[p.second]} ({p.probability:.0%})"
        for p in look_alikes(stored, judge, point)
    ]
    if not pairs:
        return Finding("look-alikes", True, "no identity's photos match another's")
    more = "" if len(pairs) <= _MOST_NAMED else f", and {len(pairs) - _MOST_NAMED} more pairs"
    said = (
        f"{'; '.join(pairs[:_MOST_NAMED])}{more}: a query of one may match both, which is no"
        " answer; are they one person? then `gallery identities merge`"
    )
    return Finding("look-alikes", True, said)


def _weights() -> list[Finding]:
    findings = []
    for source in ALL_WEIGHTS:
        try:
            source.read()
        except GalleryError as error:
            findings.append(Finding(f"weights {source.name}", False, str(error)))
        else:
            said = f"SHA-256 {source.sha256[:12]}, licence {source.licence}"
            findings.append(Finding(f"weights {source.name}", True, said))
    return findings
