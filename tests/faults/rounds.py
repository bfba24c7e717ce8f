"""Killed at random moments, over and over: nothing that was acknowledged is lost or half there.

    python -m tests.faults.rounds --rounds 1000 --seed 0

A round: a writer, forked from this process, works on a gallery (enrol, rename, merge, take back,
forget a person or a face, save the index, back up) and says through a pipe what it begins and what
is done; it is killed with SIGKILL; a reader, forked too, opens the gallery again and holds it
against everything that was said. Every tenth round kills a migration of an old file instead. The
encodings are random and made beforehand, so that a round is quick; nothing of the store is.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import signal
import sys
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
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import BackupUnusable
from gallery.gallery import Gallery
from gallery.runtime import DATABASE_FILE
from gallery.store import audit, faces, identities
from gallery.store.database import Database
from gallery.store.records import NewFace
from gallery.types import Box, Encodings, Face, Photo

OLD_FILES = Path(__file__).parents[1] / "versions"
LONGEST = 0.6  # seconds that a writer lives
FACE = Face(Box(0, 0, 50, 50), np.zeros((5, 2), np.float32), 1.0, 50.0)

Json = dict[str, Any]


@dataclass
class Said:
    """What the gallery must hold: people by id, each with a name and faces.

    erased : encodings (base64) that must be in no file.
    """

    people: dict[int, tuple[str, frozenset[int]]] = field(default_factory=dict)
    encodings: dict[int, str] = field(default_factory=dict)
    erased: list[str] = field(default_factory=list)

    def after(self, did: Json) -> Said:
        """What it is once this is done."""
        people, erased = dict(self.people), list(self.erased)
        encodings = dict(self.encodings)
        for one in did["gone"]:
            people.pop(one, None)
        for one, (name, ids) in did["there"].items():
            people[int(one)] = name, frozenset(ids)
        encodings |= {int(face): code for face, code in did.get("encodings", {}).items()}
        for face in did.get("erased", ()):
            erased.append(encodings.pop(face))
        return Said(people, encodings, erased)


# The writer


def write(home: Path, seed: int, say: Callable[[Json], None]) -> None:
    """Work until killed."""
    rng = np.random.default_rng(seed)
    gallery = open_gallery(home)
    works = (enrol, enrol, enrol, more, rename, merge, undo, forget, forget_face, save, back_up)
    number = 0
    while True:
        work = works[int(rng.integers(len(works)))]
        people = {record.id: record for record in gallery.identities()}
        number += 1
        work(gallery, rng, f"{seed}-{number}", people, say)


def open_gallery(home: Path) -> Gallery:
    return Gallery.open(home / "home", cache=home / "cache", busy_timeout=5.0)


def enrol(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    _enrol(gallery, rng, tag, f"person {tag}", None, say)


def more(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    if people:
        one = pick(rng, people)
        _enrol(gallery, rng, tag, people[one].name, one, say)


def _enrol(gallery: Gallery, rng: Any, tag: str, name: str, one: int | None, say: Any) -> None:
    row = rng.normal(size=(1, 128))
    row = (row / np.linalg.norm(row)).astype(np.float32)
    photo = Photo(
        np.zeros((1, 1, 3), np.uint8), 1.0, 1, 1, hashlib.sha256(tag.encode()).hexdigest(), tag
    )
    new = NewFace(FACE, Encodings(row, np.ones(1, np.float32), np.ones(1, np.float32)), 2)
    say({"begin": "enrol", "name": name})
    with gallery.database.writing() as session:
        encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        identity = identities.add(session, name) if one is None else one
        before = [r.id for r in faces.records(session, identity_id=identity)]
        added = faces.add(session, identity, photo, new, encoder)
        audit.record(session, "enrol", identity_id=identity)
        did = {
            "there": {identity: (name, [*before, added])},
            "gone": [],
            "encodings": {added: base64.b64encode(row.tobytes()).decode()},
        }
        say({"would": did})
    say({"did": did})


def rename(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    if people:
        one = pick(rng, people)
        held = held_by(gallery, one)
        did = {"there": {one: (f"renamed {tag}", held)}, "gone": []}
        say({"would": did})
        gallery.rename(one, f"renamed {tag}")
        say({"did": did})


def merge(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    if len(people) > 1:
        one, other = (int(i) for i in rng.permutation(sorted(people))[:2])
        both = held_by(gallery, one) + held_by(gallery, other)
        did = {"there": {one: (people[one].name, both)}, "gone": [other]}
        say({"would": did})
        gallery.merge(one, [other])
        say({"did": did})


def undo(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    merges = gallery.merges()
    if merges:
        say({"unsaid": True})  # who gets which face back is the journal's: read afterwards
        back = gallery.undo_merge(merges[0].id)
        there = {record.id: (record.name, held_by(gallery, record.id)) for record in back}
        say({"did": {"there": there, "gone": []}})


def forget(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    if len(people) > 3:
        one = pick(rng, people)
        did = {"there": {}, "gone": [one], "erased": held_by(gallery, one)}
        say({"would": did})
        if rng.random() < 0.5:
            gallery.forget(one)
        else:
            past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
            gallery.describe(one, details={}, expires=past)
            gallery.expire()
        say({"did": did})


def forget_face(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    several = [one for one, record in people.items() if record.faces > 1]
    if several:
        one = several[int(rng.integers(len(several)))]
        gone, *left = rng.permutation(held_by(gallery, one)).tolist()
        did = {"there": {one: (people[one].name, left)}, "gone": [], "erased": [gone]}
        say({"would": did})
        gallery.forget_faces([gone])
        say({"did": did})


def save(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    gallery.index.save()


def back_up(gallery: Gallery, rng: Any, tag: str, people: Json, say: Any) -> None:
    if rng.random() < 0.2:
        gallery.back_up(gallery.settings.home.parent / "x.backup")


def pick(rng: Any, people: Json) -> int:
    return int(rng.permutation(sorted(people))[0])


def held_by(gallery: Gallery, one: int) -> list[int]:
    return [face.id for face in gallery.identity(one)[1]]


# The reader


def hold_against(home: Path, said: Said, pending: Json | None) -> Said:
    """Open it again; what it holds is what was said, with or without what had only begun."""
    gallery = open_gallery(home)
    gallery.expire()  # who had been given an expiry when the writer was killed
    found = {r.id: (r.name, frozenset(held_by(gallery, r.id))) for r in gallery.identities()}
    unsaid = pending is not None and "unsaid" in pending
    allowed = [said]
    if pending is not None and "would" in pending:
        allowed.append(said.after(pending["would"]))
    if unsaid:
        faces_then = sorted(f for _, ids in said.people.values() for f in ids)
        faces_now = sorted(f for _, ids in found.values() for f in ids)
        assert faces_then == faces_now, "taking a merge back lost or made a face"
        now = Said(found, said.encodings, said.erased)
    else:
        now = next((one for one in allowed if one.people == found), None)
        assert now is not None, f"found {found}\nsaid {said.people}\npending {pending}"
    with gallery.database.reading() as session:
        stored = faces.ids(session)
        encoded = faces.encodings_by_id(session, stored)
        assert audit.problems(session) == []
    for face, row in zip(stored, encoded.encodings.vectors, strict=True):
        if face in now.encodings:
            assert base64.b64encode(row.tobytes()).decode() == now.encodings[face], face
    assert gallery.index.catch_up().ids().tolist() == stored, "the index does not agree"
    checked = check_storage(gallery.settings, gallery.database, gallery.index)
    problems = [finding for finding in checked if not finding.ok]
    assert not problems, problems
    gallery.close()
    backup = home / "x.backup"
    if backup.exists():
        try:
            verify(backup)
        except BackupUnusable as error:
            raise AssertionError("a backup is there and is not whole") from error
        backup.unlink()  # it may hold who is erased later
    for left in home.glob("x.backup*.part"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    look_for(home, now.erased)
    return Said(now.people, now.encodings, now.erased[-20:])


def look_for(home: Path, erased: list[str]) -> None:
    """Straight after the kill, before anything is opened: who was said to be erased is gone."""
    ours = (home / "home", home / "cache")  # a backup beside them may hold it still
    content = b"".join(f.read_bytes() for o in ours for f in o.rglob("*") if f.is_file())
    for code in erased:
        row = np.frombuffer(base64.b64decode(code), "<f4")
        for form in (row.tobytes(), row.astype(np.float16).tobytes(), code.encode()):
            for at in range(0, len(form) - 24, 24):
                assert form[at : at + 24] not in content, "bytes of an erased encoding are left"


# A migration that is killed


def migrate(home: Path, old: Path) -> None:
    Database(home / DATABASE_FILE, busy_timeout=5.0).close()


def hold_migrated(home: Path, old: Path) -> None:
    """It opens, and holds what the old file held."""
    database = Database(home / DATABASE_FILE, busy_timeout=5.0)
    assert database.problems() == []
    with database.reading() as session:
        found = {r.name: r.faces for r in identities.list_all(session)}
        rows = faces.encodings_by_id(session, faces.ids(session)).encodings.vectors
    database.close()
    told = json.loads(old.with_suffix(".json").read_text())
    assert found == told["people"], (found, told)
    assert hashlib.sha256(rows.tobytes()).hexdigest() == told["encodings_sha256"]


# Rounds


def killed(work: Callable[[Callable[[Json], None]], None], seconds: float) -> list[Json]:
    """Fork a worker, kill it after so long; every whole line that it said."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        try:
            work(lambda told: void(os.write(writes, json.dumps(told).encode() + b"\n")))
        except BaseException as error:  # a forked child must not run on as its parent
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(writes)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reads, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"the writer ended by itself with status {status}"
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def void(_: object) -> None:
    return None


def in_a_child(check: Callable[[], Said | None]) -> Said | None:
    """Run it in a forked process, so that this one never opens anything."""
    answer = Path(tempfile.mkstemp()[1])
    child = os.fork()
    if not child:
        try:
            said = check()
            kept = said and [{str(k): v for k, v in said.encodings.items()}, said.erased]
            people = said and {str(k): (n, sorted(f)) for k, (n, f) in said.people.items()}
            answer.write_text(json.dumps([people, kept]))
        except BaseException as error:  # see above
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, "what is there is not what was said; see above"
    people, kept = json.loads(answer.read_text())
    answer.unlink()
    if people is None:
        return None
    return Said(
        {int(k): (n, frozenset(f)) for k, (n, f) in people.items()},
        {int(k): v for k, v in kept[0].items()},
        kept[1],
    )


def run(rounds: int, seed: int, told: Callable[[str], None]) -> None:
    """Raises AssertionError at the first round in which something was lost."""
    rng = np.random.default_rng(seed)
    counts: dict[str, int] = {}
    home = Path(tempfile.mkdtemp(prefix="rounds-"))
    said = Said()
    old_files = sorted(OLD_FILES.glob("*.db"))
    begun = time.monotonic()
    for number in range(rounds):
        if number % 10 == 9:
            old = old_files[int(rng.integers(len(old_files)))]
            there = Path(tempfile.mkdtemp(prefix="migrated-"))
            shutil.copy(old, there / DATABASE_FILE)
            killed(lambda _, t=there, o=old: migrate(t, o), float(rng.uniform(0.0, 0.3)))
            in_a_child(lambda t=there, o=old: hold_migrated(t, o))
            shutil.rmtree(there)
            counts["migration"] = counts.get("migration", 0) + 1
            continue
        if number % 50 == 0:  # a gallery does not grow without end
            shutil.rmtree(home)
            home.mkdir(mode=0o700)
            said = Said()
        lines = killed(
            lambda say, h=home, s=1000 * seed + number: write(h, s, say),
            float(rng.uniform(0.02, LONGEST)),
        )
        pending: Json | None = None
        for line in lines:
            if "did" in line:
                said, pending = said.after(line["did"]), None
                counts["done"] = counts.get("done", 0) + 1
            else:
                pending = line
        counts["cut short"] = counts.get("cut short", 0) + (pending is not None)
        look_for(home, said.erased)
        held = in_a_child(lambda h=home, s=said, p=pending: hold_against(h, s, p))
        assert held is not None
        said = held
        if (number + 1) % 50 == 0:
            told(f"{number + 1} rounds in {time.monotonic() - begun:.0f} s: {counts}")
    shutil.rmtree(home)
    told(f"{rounds} rounds, seed {seed}: nothing acknowledged was lost; {counts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    run(asked.rounds, asked.seed, lambda text: void(sys.stdout.write(f"{text}\n")))


if __name__ == "__main__":
    main()
