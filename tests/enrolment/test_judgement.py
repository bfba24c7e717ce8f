"""What is judged over all photos of a folder, on drawn people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gallery import Gallery
from gallery.enrolment.judgement import NamedPhoto, of_several_people
from gallery.store.photo_cache import unusable_photo
from gallery.types import Float32, Several
from tests.people import encodings, rows_of


def photos(name: str, rows: Float32) -> list[NamedPhoto]:
    """A photo with one face for each row."""
    found = [
        replace(
            unusable_photo(f"{name} {i}", ""),
            sha256=f"{name} {i}",
            boxes=np.array([[0, 0, 90, 90]], np.float32),
            encodings=encodings(rows[i : i + 1]),
        )
        for i in range(len(rows))
    ]
    return [NamedPhoto(name, Path(name, f"{i}.jpg"), photo) for i, photo in enumerate(found)]


def test_folder_above_the_people_is_noticed(gallery: Gallery) -> None:
    friends = photos("friends", rows_of(8, 3, seed=1))
    assert of_several_people(friends, gallery.scorer, Several.REFUSE) == ["friends"]
    new = photos("new", rows_of(20, 1, seed=2))
    assert of_several_people(friends + new, gallery.scorer, Several.REFUSE) == ["friends", "new"]


def test_people_are_people_although_one_folder_is_mixed(gallery: Gallery) -> None:
    ada, eve = photos("Ada", rows_of(1, 9, seed=3)), photos("Eve", rows_of(1, 9, seed=4))
    mixed = photos("various", rows_of(12, 1, seed=5))
    assert of_several_people(ada + eve + mixed, gallery.scorer, Several.REFUSE) == []
    misfiled = photos("Ada", np.concatenate([rows_of(1, 9, seed=3), rows_of(4, 1, seed=6)]))
    assert of_several_people(misfiled, gallery.scorer, Several.REFUSE) == []


def test_few_photos_do_not_tell(gallery: Gallery) -> None:
    assert of_several_people(photos("a", rows_of(5, 1, 7)), gallery.scorer, Several.REFUSE) == []
