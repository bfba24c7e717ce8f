"""Galleries and findings that plans are made of."""

from __future__ import annotations

import pytest

from gallery import Gallery
from gallery.dedupe.findings import Findings, Misfiled, Person, SameIdentities
from tests.conftest import AddFace, UnitRows
from tests.dedupe.plans import face


@pytest.fixture
def filled(gallery: Gallery, unit_rows: UnitRows, add_face: AddFace) -> Gallery:
    """Faces 1 and 2 are Ada's, 3 is Countess's, 4 and 5 are Bob's; 5 is really Ada."""
    rows = unit_rows(5, 3)
    for i, name in enumerate(["Ada", "Ada", "Countess", "Bob", "Bob"]):
        add_face(gallery.database, name, rows.row(i), i + 1)
    return gallery


@pytest.fixture
def findings() -> Findings:
    return Findings(
        5,
        5,
        identities=(SameIdentities(("Ada", "Countess"), (1, 2), 0.9, (face(1), face(3)), "why"),),
        misfiled=(Misfiled(face(5), "Bob", "Ada", 0.99, face(1), "why", 3, 1),),
        people=(Person("abc", (face(1), face(2), face(5)), 0.8, (face(1), face(2)), "why"),),
    )


@pytest.fixture
def three(gallery: Gallery, unit_rows: UnitRows, add_face: AddFace) -> Gallery:
    """Ada, Ben and Cy, with a face each."""
    rows = unit_rows(3, 4)
    for i, name in enumerate(["Ada", "Ben", "Cy"]):
        add_face(gallery.database, name, rows.row(i), i + 1)
    return gallery
