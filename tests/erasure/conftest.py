"""A gallery of a few people."""

from __future__ import annotations

import numpy as np
import pytest

from gallery.gallery import Gallery
from gallery.store import kept_images
from gallery.types import Encodings
from tests.conftest import AddFace

PICTURES = [bytes(np.random.default_rng(i).integers(0, 256, 3000, np.uint8)) for i in range(3)]


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(12, 8)


@pytest.fixture
def people(gallery: Gallery, rows: Encodings, add_face: AddFace) -> Gallery:
    """Ada Lovelace with three faces and thumbnails, Annabel with one face."""
    for i in range(3):
        face = add_face(gallery.database, "Ada Lovelace", rows.row(i), i)
        with gallery.database.writing() as session:
            kept_images.add_thumbnail(session, face, PICTURES[i])
    add_face(gallery.database, "Annabel", rows.row(3), 3)
    gallery.index.save()
    return gallery
