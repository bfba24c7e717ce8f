"""Kill a gallery at random moments, many times: nothing acknowledged is lost or incomplete.

    python -m tests.faults.rounds --rounds 1000 --seed 0

In each round, a writer forked from this process works on a gallery (enrol, rename, merge, undo a
merge, erase a person or a face, save the index, back up) and reports through a pipe what it begins
and what it has done. It is killed with SIGKILL. A reader, forked too, opens the gallery again and
compares it with the reports. Every tenth round kills a migration of an old file instead.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from gallery.admin.backup import verify
from gallery.admin.check import check_storage
from gallery.config import DATABASE_FILE
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import BackupUnusable
from gallery.gallery import Gallery
from gallery.store import audit, faces, identities
from gallery.store.database import Database
from gallery.store.records import NewFace
from gallery.types import Box, Encodings, Face, Photo

OLD_FILES = Path(__file__).parents[1] / "versions"
MAX_SECONDS = 0.6  # lifetime of a writer
FACE = Face(Box(0, 0, 50, 50), np.zeros((5, 2), np.float32), 1.0, 50.0)

Json = dict[str, Any]


@dataclass
class Expected:
    """The expected contents of the gallery.

    people : id to name and face ids.  encodings : face id to encoding (base64).
    erased : encodings (base64) that must be in no file.
    """

    people: dict[int, tuple[str, frozenset[int]]] = field(default_factory=dict)
    encodings: dict[int, str] = field(default_factory=dict)
    erased: list[str] = field(default_factory=list)

    def after(self, change: Json) -> Expected:
        """The expected contents after this change."""
        people, erased = dict(self.people), list(self.erased)
        encodings = dict(self.encodings)
        for identity in change["removed"]:
            people.pop(identity, None)
        for identity, (name, ids) in change["people"].items():
            people[int(identity)] = name, frozenset(ids)
        encodings |= {int(face): code for face, code in change.get("encodings", {}).items()}
        for face in change.get("erased", ()):
            erased.append(encodings.pop(face))
        return Expected(people, encodings, erased)


# The writer


def write(home: Path, seed: int, report: Callable[[Json], None]) -> None:
    """Work until killed."""
    rng = np.random.default_rng(seed)
    gallery = open_gallery(home)
    actions = (
        enrol,
        enrol,
        enrol,
        enrol_again,
        rename,
        merge,
        undo,
        forget,
        forget_face,
        save,
        back_up,
    )
    number = 0
    while True:
        action = actions[int(rng.integers(len(actions)))]
        people = {record.id: record for record in gallery.identities()}
        number += 1
        action(gallery, rng, f"{seed}-{number}", people, report)


def open_gallery(home: Path) -> Gallery:
    return Gallery.open(home / "home", cache=home / "cache", busy_timeout=5.0)


def enrol(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    _enrol(gallery, rng, tag, f"person {tag}", None, report)


def enrol_again(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    if people:
        identity = pick(rng, people)
        _enrol(gallery, rng, tag, people[identity].name, identity, report)


def _enrol(gallery: Gallery, rng: Any, tag: str, name: str, known: int | None, report: Any) -> None:
    row = rng.normal(size=(1, 128))
    row = (row / np.linalg.norm(row)).astype(np.float32)
    photo = Photo(
        np.zeros((1, 1, 3), np.uint8), 1.0, 1, 1, hashlib.sha256(tag.encode()).hexdigest(), tag
    )
    new = NewFace(FACE, Encodings(row, np.ones(1, np.float32), np.ones(1, np.float32)), 2)
    report({"started": "enrol", "name": name})
    with gallery.database.writing() as session:
        encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        identity = identities.add(session, name) if known is None else known
        before = [r.id for r in faces.records(session, identity_id=identity)]
        added = faces.add(session, identity, photo, new, encoder)
        audit.record(session, "enrol", identity_id=identity)
        change = {
            "people": {identity: (name, [*before, added])},
            "removed": [],
            "encodings": {added: base64.b64encode(row.tobytes()).decode()},
        }
        report({"begun": change})
    report({"done": change})


def rename(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    if people:
        identity = pick(rng, people)
        ids = faces_of(gallery, identity)
        change = {"people": {identity: (f"renamed {tag}", ids)}, "removed": []}
        report({"begun": change})
        gallery.rename(identity, f"renamed {tag}")
        report({"done": change})


def merge(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    if len(people) > 1:
        kept, other = (int(i) for i in rng.permutation(sorted(people))[:2])
        ids = faces_of(gallery, kept) + faces_of(gallery, other)
        change = {"people": {kept: (people[kept].name, ids)}, "removed": [other]}
        report({"begun": change})
        gallery.merge(kept, [other])
        report({"done": change})


def undo(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    merges = gallery.merges()
    if merges:
        report({"unpredictable": True})  # the journal decides who gets which face: read afterwards
        undone = gallery.undo_merge(merges[0].id)
        records = {record.id: (record.name, faces_of(gallery, record.id)) for record in undone}
        report({"done": {"people": records, "removed": []}})


def forget(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    if len(people) > 3:
        identity = pick(rng, people)
        change = {"people": {}, "removed": [identity], "erased": faces_of(gallery, identity)}
        report({"begun": change})
        if rng.random() < 0.5:
            gallery.forget(identity)
        else:
            past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
            gallery.describe(identity, details={}, expires=past)
            gallery.expire()
        report({"done": change})


def forget_face(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    several = [identity for identity, record in people.items() if record.faces > 1]
    if several:
        identity = several[int(rng.integers(len(several)))]
        erased, *left = rng.permutation(faces_of(gallery, identity)).tolist()
        change = {
            "people": {identity: (people[identity].name, left)},
            "removed": [],
            "erased": [erased],
        }
        report({"begun": change})
        gallery.forget_faces([erased])
        report({"done": change})


def save(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    gallery.index.save()


def back_up(gallery: Gallery, rng: Any, tag: str, people: Json, report: Any) -> None:
    if rng.random() < 0.2:
        gallery.back_up(gallery.settings.home.parent / "x.backup")


def pick(rng: Any, people: Json) -> int:
    return int(rng.permutation(sorted(people))[0])


def faces_of(gallery: Gallery, identity: int) -> list[int]:
    return [face.id for face in gallery.identity(identity)[1]]


# The reader


def check_contents(home: Path, state: Expected, pending: Json | None) -> Expected:
    """Open the gallery and compare it with what is expected, with or without a begun change."""
    gallery = open_gallery(home)
    gallery.expire()  # the writer may have been killed after setting an expiry date
    found = {r.id: (r.name, frozenset(faces_of(gallery, r.id))) for r in gallery.identities()}
    allowed = [state]
    if pending is not None and "begun" in pending:
        allowed.append(state.after(pending["begun"]))
    if pending is not None and "unpredictable" in pending:
        faces_then = sorted(f for _, ids in state.people.values() for f in ids)
        faces_now = sorted(f for _, ids in found.values() for f in ids)
        assert faces_then == faces_now, "undoing a merge lost or added a face"
        now = Expected(found, state.encodings, state.erased)
    else:
        now = next((option for option in allowed if option.people == found), None)
        assert now is not None, f"found {found}\nexpected {state.people}\npending {pending}"
    with gallery.database.reading() as session:
        stored = faces.ids(session)
        encoded = faces.encodings_by_id(session, stored)
        assert audit.problems(session) == []
    for face, row in zip(stored, encoded.encodings.vectors, strict=True):
        if face in now.encodings:
            assert base64.b64encode(row.tobytes()).decode() == now.encodings[face], face
    assert gallery.index.catch_up().ids().tolist() == stored, "the index differs from the database"
    checked = check_storage(gallery.settings, gallery.database, gallery.index)
    problems = [finding for finding in checked if not finding.ok]
    assert not problems, problems
    gallery.close()
    backup = home / "x.backup"
    if backup.exists():
        try:
            verify(backup)
        except BackupUnusable as error:
            raise AssertionError("a backup is incomplete") from error
        backup.unlink()  # it may contain people erased later
    for part in home.glob("x.backup*.part"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    check_erased(home, now.erased)
    return Expected(now.people, now.encodings, now.erased[-20:])


def check_erased(home: Path, erased: list[str]) -> None:
    """No file contains an encoding whose erasure was acknowledged."""
    folders = (home / "home", home / "cache")  # a backup beside them may still contain it
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    content = b"".join(file.read_bytes() for file in files)
    for code in erased:
        row = np.frombuffer(base64.b64decode(code), "<f4")
        for form in (row.tobytes(), row.astype(np.float16).tobytes(), code.encode()):
            for start in range(0, len(form) - 24, 24):
                piece = form[start : start + 24]
                assert piece not in content, "bytes of an erased encoding remain"


# A migration that is killed


def migrate(home: Path) -> None:
    Database(home / DATABASE_FILE, busy_timeout=5.0).close()


def check_migrated(home: Path, old: Path) -> None:
    """The migrated file opens and contains everything in the old file."""
    database = Database(home / DATABASE_FILE, busy_timeout=5.0)
    assert database.problems() == []
    with database.reading() as session:
        found = {r.name: r.faces for r in identities.list_all(session)}
        rows = faces.encodings_by_id(session, faces.ids(session)).encodings.vectors
    database.close()
    expected = json.loads(old.with_suffix(".json").read_text())
    assert found == expected["people"], (found, expected)
    assert hashlib.sha256(rows.tobytes()).hexdigest() == expected["encodings_sha256"]


# Rounds


def run_and_kill(work: Callable[[Callable[[Json], None]], None], seconds: float) -> list[Json]:
    """Fork a worker and kill it after so many seconds; return the complete lines it wrote."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        try:
            work(lambda line: void(os.write(writes, json.dumps(line).encode() + b"\n")))
        except BaseException as error:  # a forked child must not continue as its parent
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(writes)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reads, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"the writer exited with status {status}"
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def void(_: object) -> None:
    return None


def in_a_child(check: Callable[[], Expected | None]) -> Expected | None:
    """Run a check in a forked process, so that this one never opens the gallery."""
    answer = Path(tempfile.mkstemp()[1])
    child = os.fork()
    if not child:
        try:
            state = check()
            rest = state and [{str(k): v for k, v in state.encodings.items()}, state.erased]
            people = state and {str(k): (n, sorted(f)) for k, (n, f) in state.people.items()}
            answer.write_text(json.dumps([people, rest]))
        except BaseException as error:  # see above
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the gallery differs from what was acknowledged; see above"
    people, rest = json.loads(answer.read_text())
    answer.unlink()
    if people is None:
        return None
    return Expected(
        {int(k): (n, frozenset(f)) for k, (n, f) in people.items()},
        {int(k): v for k, v in rest[0].items()},
        rest[1],
    )


def run(rounds: int, seed: int, show: Callable[[str], None]) -> None:
    """Raises AssertionError in the first round in which something was lost."""
    rng = np.random.default_rng(seed)
    counts: dict[str, int] = {}
    home = Path(tempfile.mkdtemp(prefix="rounds-"))
    state = Expected()
    old_files = sorted(OLD_FILES.glob("*.db"))
    started = time.monotonic()
    for number in range(rounds):
        if number % 10 == 9:
            old = old_files[int(rng.integers(len(old_files)))]
            copy = Path(tempfile.mkdtemp(prefix="migrated-"))
            shutil.copy(old, copy / DATABASE_FILE)
            run_and_kill(lambda _, c=copy: migrate(c), float(rng.uniform(0.0, 0.3)))
            in_a_child(lambda c=copy, o=old: check_migrated(c, o))
            shutil.rmtree(copy)
            counts["migration"] = counts.get("migration", 0) + 1
            continue
        if number % 50 == 0:  # start again with an empty gallery
            shutil.rmtree(home)
            home.mkdir(mode=0o700)
            state = Expected()
        lines = run_and_kill(
            lambda report, h=home, s=1000 * seed + number: write(h, s, report),
            float(rng.uniform(0.02, MAX_SECONDS)),
        )
        pending: Json | None = None
        for line in lines:
            if "done" in line:
                state, pending = state.after(line["done"]), None
                counts["done"] = counts.get("done", 0) + 1
            else:
                pending = line
        counts["cut short"] = counts.get("cut short", 0) + (pending is not None)
        check_erased(home, state.erased)  # before anything opens the gallery
        checked = in_a_child(lambda h=home, s=state, p=pending: check_contents(h, s, p))
        assert checked is not None
        state = checked
        if (number + 1) % 50 == 0:
            show(f"{number + 1} rounds in {time.monotonic() - started:.0f} s: {counts}")
    shutil.rmtree(home)
    show(f"{rounds} rounds, seed {seed}: nothing acknowledged was lost; {counts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run(options.rounds, options.seed, print)


if __name__ == "__main__":
    main()
