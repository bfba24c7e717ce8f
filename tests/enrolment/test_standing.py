"""What a name means is looked up again when a face is stored: it may have changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gallery import Gallery
from gallery.enrolment.standing import Standing, standing_of
from gallery.errors import NameAmbiguous


@pytest.fixture
def standing(gallery: Gallery, hopper: Path) -> Callable[..., Standing]:
    gallery.enroll("Grace Hopper", hopper)

    def of(name: str, *, new: bool = False) -> Standing:
        return standing_of(gallery.database, name, "ab" * 32, "photo", new=new)

    return of


def holds(gallery: Gallery, standing: Standing) -> bool:
    with gallery.database.writing() as session:
        return standing.holds(session)


def test_near_name_means_the_person_until_they_are_renamed(
    gallery: Gallery, standing: Callable[..., Standing]
) -> None:
    found = standing("grace-hopper")
    assert found.person == "Grace Hopper" and holds(gallery, found)
    gallery.rename("Grace Hopper", "Amazing Grace")
    assert not holds(gallery, found)
    assert standing("grace-hopper").identity is None


def test_new_name_is_new_until_somebody_is_named_so(
    gallery: Gallery, standing: Callable[..., Standing]
) -> None:
    found, new = standing("Ada"), standing("Ada", new=True)
    assert found.identity is None and holds(gallery, found)
    gallery.rename("Grace Hopper", "ada")
    assert not holds(gallery, found) and holds(gallery, new)
    gallery.rename("ada", "Ada")
    assert not holds(gallery, new)


def test_name_that_came_to_mean_two_is_ambiguous(
    gallery: Gallery, standing: Callable[..., Standing], collins: Path
) -> None:
    gallery.enroll("Eileen", collins)
    found = standing("GRACE HOPPER")
    gallery.rename("Eileen", "grace hopper", new=True)
    with pytest.raises(NameAmbiguous, match="give the exact name"):
        holds(gallery, found)
    assert holds(gallery, standing("grace hopper"))


def test_another_face_changes_the_standing(
    gallery: Gallery, standing: Callable[..., Standing], collins: Path
) -> None:
    found = standing("Grace Hopper")
    gallery.enroll("Eileen", collins)
    assert not holds(gallery, found)
