"""The sample that follows each change gives what measuring the gallery anew gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from gallery.matching.dense_network import DenseNetwork
from gallery.matching.gallery_margins import gallery_impostors, identity_sample
from gallery.matching.gallery_sample import GallerySample
from gallery.matching.head import Head
from gallery.matching.impostors import Impostors
from gallery.store import corrections, encoders, faces, identities, merges
from gallery.store.change_log import log_changes
from gallery.store.database import Database
from gallery.store.tables import FaceRow
from gallery.types import Float32
from tests.conftest import AddFace, UnitRows
from tests.matching.heads import make_head


@dataclass
class CountingNetwork(DenseNetwork):
    """Counts the pairs that it judges."""

    network: DenseNetwork
    pairs: int = 0

    def logits(self, features: Float32) -> Float32:
        self.pairs += len(features)
        return self.network.logits(features)


@pytest.fixture
def network() -> CountingNetwork:
    return CountingNetwork(make_head().networks[0])


@pytest.fixture
def head(network: CountingNetwork) -> Head:
    return replace(make_head(), networks=[network])


def followed(sample: GallerySample, database: Database) -> Impostors:
    with database.reading() as session:
        return sample.impostors(session)


def anew(head: Head, database: Database) -> Impostors:
    with database.reading() as session:
        stored = faces.encodings_of(session, identities.ids(session))
    return gallery_impostors(head, stored.identity_ids, stored.encodings)


def assert_same(ours: Impostors, theirs: Impostors) -> None:
    np.testing.assert_array_equal(ours.identity_ids, theirs.identity_ids)
    for name in ("mean", "deviation", "residual", "identity_variance"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-5), name
    for name in ("effects", "faces", "templates"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-5)


@pytest.mark.parametrize("people", [30, 203])
def test_follows_every_kind_of_change(
    database: Database, unit_rows: UnitRows, add_face: AddFace, head: Head, people: int
) -> None:
    rows = unit_rows(people + 60, 1)
    for i in range(people):
        add_face(database, f"person {i}", rows.row(i), i)
    sample, rng = GallerySample(head), np.random.default_rng(0)
    assert_same(followed(sample, database), anew(head, database))
    for step in range(60):
        with database.reading() as session:
            names = [record.name for record in identities.list_all(session)]
        one, other = rng.choice(names, 2, replace=False)
        kind = step % 6
        if kind in (0, 1):
            name = one if kind else f"new {step}"
            add_face(database, name, rows.row(people + step), people + step)
        with database.writing() as session:
            if kind == 2:
                identities.remove(session, identities.get(session, one).id)
            elif kind == 3:
                merges.merge(session, one, [other])
            elif kind == 4:
                source = max(identities.list_all(session), key=lambda record: record.faces)
                face = faces.records(session, identity_id=source.id)[0]
                target = next(n for n in names if n != source.name and _exists(session, n))
                if source.faces > 1:
                    corrections.move(session, face.id, identities.get(session, target).id)
            elif step % 12 == 5:
                merges.undo(session, merges.list_all(session)[0].id)
        assert_same(followed(sample, database), anew(head, database))


def _exists(session: Session, name: str) -> bool:
    return identities.find(session, name) is not None


def set_unsearchable(database: Database, identity_ids: list[int]) -> None:
    """As if only an encoder that is no longer in use had encoded these people's faces."""
    with database.writing() as session:
        past = encoders.get_or_add(session, "past", "cd" * 32, None)
        stored = session.scalars(select(FaceRow).where(FaceRow.identity_id.in_(identity_ids))).all()
        for row in stored:
            row.encoder_id = past.id
        session.flush()
        log_changes(session, [row.id for row in stored])


@pytest.mark.parametrize("people", [30, 260])
def test_person_without_a_searchable_face_leaves_the_sample_like_others(
    database: Database, unit_rows: UnitRows, add_face: AddFace, head: Head, people: int
) -> None:
    rows = unit_rows(people, 1)
    for i in range(people):
        add_face(database, f"person {i}", rows.row(i), i)
    sample = GallerySample(head)
    sampled = followed(sample, database).identity_ids.tolist()
    set_unsearchable(database, sampled[: people // 2])
    assert_same(followed(sample, database), followed(GallerySample(head), database))
    assert len(followed(sample, database).identity_ids) == min(people, 200) - people // 2
    with database.writing() as session:
        for identity_id in sampled[:5]:
            identities.remove(session, identity_id)
    assert_same(followed(sample, database), followed(GallerySample(head), database))


class FailingOnceNetwork(CountingNetwork):
    fails = False

    def logits(self, features: Float32) -> Float32:
        if self.fails:
            self.fails = False
            raise MemoryError("no memory")
        return super().logits(features)


def test_sample_is_whole_again_after_a_failure(
    database: Database, unit_rows: UnitRows, add_face: AddFace
) -> None:
    rows = unit_rows(20, 1)
    for i in range(19):
        add_face(database, f"person {i}", rows.row(i), i)
    network = FailingOnceNetwork(make_head().networks[0])
    head = replace(make_head(), networks=[network])
    sample = GallerySample(head)
    followed(sample, database)
    with database.writing() as session:
        identities.remove(session, identities.get(session, "person 3").id)
    add_face(database, "person 4", rows.row(19), 19)
    network.fails = True
    with pytest.raises(MemoryError):
        followed(sample, database)
    assert len(followed(sample, database).identity_ids) == 18
    assert_same(followed(sample, database), anew(head, database))


def test_change_costs_no_more_than_it_touches(
    database: Database,
    unit_rows: UnitRows,
    add_face: AddFace,
    head: Head,
    network: CountingNetwork,
) -> None:
    rows = unit_rows(260, 1)
    for i in range(250):
        add_face(database, f"person {i}", rows.row(i), i)
    sample = GallerySample(head)
    followed(sample, database)
    assert network.pairs == 200 * 200
    with database.reading() as session:
        ids = np.array(identities.ids(session))
    network.pairs = 0
    inside = int(identity_sample(ids)[0])
    outside = next(i for i in ids.tolist() if i not in identity_sample(ids))
    for i, (identity_id, pairs) in enumerate([(outside, 0), (inside, 2 * 200 - 1)]):
        with database.reading() as session:
            name = next(r.name for r in identities.list_all(session) if r.id == identity_id)
        add_face(database, name, rows.row(250 + i), 250 + i)
        before = followed(sample, database)
        assert network.pairs == pairs
        assert followed(sample, database) is before


def test_older_database_is_measured_anew(
    database: Database, unit_rows: UnitRows, add_face: AddFace, head: Head
) -> None:
    """A restored backup has fewer changes."""
    rows = unit_rows(3, 1)
    sample = GallerySample(head)
    for i in range(3):
        add_face(database, f"person {i}", rows.row(i), i)
    assert len(followed(sample, database).identity_ids) == 3
    with database.writing() as session:
        session.connection().exec_driver_sql("DELETE FROM changes WHERE id > 2")
        session.connection().exec_driver_sql("DELETE FROM faces WHERE id > 2")
    assert followed(sample, database).identity_ids.tolist() == [1, 2]
