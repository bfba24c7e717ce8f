"""Every odd file, thing and ape: a typed error or an honest answer, and nothing half-enrolled."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from gallery import Gallery
from gallery.errors import PhotoError
from gallery.types import EnrolOutcome, Outcome

LIMIT_KIB = 2 * 1024 * 1024


@pytest.mark.parametrize("folder", ["odd", "noface", "noface_primates"])
def test_nothing_odd_gets_through(gallery: Gallery, shared_faces: Path, folder: str) -> None:
    files = sorted(f for f in (shared_faces / folder).rglob("*") if f.is_file())
    assert files
    enrolled = 0
    for file in files:
        result = gallery.enroll("Odd", file)
        enrolled += result.outcome is EnrolOutcome.ENROLLED
        assert result.reason
        try:
            decision = gallery.query(file)
        except PhotoError as error:
            assert result.outcome is EnrolOutcome.ERROR, file
            assert str(error)
        else:
            assert decision.outcome in Outcome
            if folder != "odd":
                assert decision.outcome is Outcome.NO_FACE, file
    listed = gallery.identities()
    assert sum(record.faces for record in listed) == enrolled
    assert gallery.database.problems() == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < LIMIT_KIB
