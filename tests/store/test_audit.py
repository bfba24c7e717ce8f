"""API keys match their secrets; the audit trail detects tampering; jobs finish; thumbnails."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gallery.errors import InvalidName, JobNotFound, KeyNotFound, ThumbnailNotFound
from gallery.store import api_keys, audit, jobs, kept_images
from gallery.store.database import Database
from gallery.store.jobs import JobState


def test_key_matches_its_secret_only_and_the_secret_is_not_stored(database: Database) -> None:
    with database.writing() as session:
        key, secret = api_keys.create(session, "door", ["query", "query"], 60)
        other, _ = api_keys.create(session, "door", ["admin"], 60)
    assert key.scopes == ("query",) and key.id != other.id
    with database.reading() as session:
        live = api_keys.active_keys(session)
    assert api_keys.matching_key(live, secret) == key
    wrong = f"gallery_{other.id}_{secret.rpartition('_')[2]}"
    for invalid in (wrong, secret[:-1], secret + "x", secret.upper(), "", "gallery__", "\u00e9"):
        assert api_keys.matching_key(live, invalid) is None
    assert secret.split("_", 2)[2].encode() not in database.file.read_bytes()
    with database.writing() as session:
        api_keys.revoke(session, key.id)
        assert api_keys.active_keys(session) == [other]
        first = api_keys.revoke(session, key.id).revoked_at
        assert first == api_keys.list_all(session)[0].revoked_at
        with pytest.raises(KeyNotFound):
            api_keys.revoke(session, "nothing")
        with pytest.raises(InvalidName):
            api_keys.create(session, " ", ["query"], 60)


def test_entries_record_actor_and_action_in_order(database: Database) -> None:
    with database.writing() as session:
        audit.record(session, "enrol", identity_id=7)
        audit.record(session, "query", outcome="match", actor=audit.Actor("key ab12", "r-1"))
    with database.reading() as session:
        first, second = audit.entries(session, 10)
        assert (first.actor, first.action, first.identity_id) == ("command line", "enrol", 7)
        assert (second.actor, second.outcome, second.request_id) == ("key ab12", "match", "r-1")
        assert audit.entries(session, 1) == [second]
        assert audit.count(session) == 2 and audit.problems(session) == []


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE audit SET identity_id = 4 WHERE id = 3", "entry 3"),
        ("UPDATE audit SET actor = 'someone' WHERE id = 5", "entry 5"),
        ("DELETE FROM audit WHERE id = 3", "between 2 and 4"),
    ],
)
def test_changed_or_deleted_entry_is_detected(database: Database, sql: str, problem: str) -> None:
    with database.writing() as session:
        for i in range(5):
            audit.record(session, "enrol", identity_id=i)
    with database.writing() as session:
        session.execute(text(sql))
    with database.reading() as session:
        (message,) = audit.problems(session)
    assert problem in message


def test_old_entries_are_pruned_from_the_beginning(database: Database) -> None:
    with database.writing() as session:
        for i in range(4):
            audit.record(session, "enrol", identity_id=i)
        assert not audit.is_prune_due(session, 90)
        old = (datetime.now(UTC) - timedelta(days=91)).replace(tzinfo=None)
        session.execute(text("UPDATE audit SET at = :old WHERE id <= 2"), {"old": str(old)})
    with database.writing() as session:
        assert audit.is_prune_due(session, 90)
        audit.prune(session, 90)
        assert [e.identity_id for e in audit.entries(session, 9)] == [2, 3]
        assert audit.problems(session) == [] and not audit.is_prune_due(session, 90)
        audit.record(session, "enrol", identity_id=9)
        assert audit.problems(session) == []


def test_finished_job_cannot_be_changed(database: Database) -> None:
    with database.writing() as session:
        job = jobs.add(session, "dedupe")
        assert job.state == JobState.QUEUED
        assert jobs.change(session, job.id, state=JobState.RUNNING, done=3, total=9)
        assert [j.done for j in jobs.unfinished(session)] == [3]
        assert jobs.change(session, job.id, state=JobState.CANCELLED)
        assert not jobs.change(session, job.id, state=JobState.DONE)
        assert jobs.get(session, job.id).state == JobState.CANCELLED
        assert jobs.unfinished(session) == []
        with pytest.raises(JobNotFound):
            jobs.get(session, "nothing")


def test_old_finished_jobs_are_deleted(database: Database) -> None:
    with database.writing() as session:
        running = jobs.add(session, "dedupe").id
        for _ in range(130):
            jobs.change(session, jobs.add(session, "dedupe").id, state=JobState.DONE, result={})
        left = session.scalar(text("SELECT count(*) FROM jobs"))
        assert left is not None and left <= 102
        assert jobs.get(session, running).state == JobState.QUEUED


def test_missing_thumbnail_raises(database: Database) -> None:
    with database.reading() as session, pytest.raises(ThumbnailNotFound, match="face 5"):
        kept_images.thumbnail(session, 5)


def test_entries_contain_no_names(database: Database) -> None:
    with database.writing() as session:
        audit.record(session, "query", outcome="match")
        row = session.execute(text("SELECT * FROM audit")).mappings().one()
    assert set(json.loads(json.dumps(dict(row), default=str))) == {
        "id", "at", "actor", "action", "identity_id", "outcome", "request_id", "previous", "digest",
    }  # fmt: skip
