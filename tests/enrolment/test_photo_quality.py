"""Photos that make poor examples of a person: warned of, refused on demand, and listed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from gallery import Gallery
from gallery.matching.photo_quality import Limits, Signs, limits_for
from gallery.types import Fault, Refusal

GOOD = Signs(sharpness=400.0, norm=100.0, agreement=0.999)


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def blurred(hopper: Path) -> bytes:
    with Image.open(hopper) as image:
        return jpeg(image.convert("RGB").filter(ImageFilter.GaussianBlur(9)))


def test_poor_photo_is_enrolled_with_a_warning_that_names_better_ones(
    gallery: Gallery, hopper: Path, blurred: bytes
) -> None:
    good = gallery.enroll("Grace Hopper", hopper)
    assert good.faults == () and "warning" not in good.reason
    poor = gallery.enroll("Grace Hopper", blurred)
    assert poor.outcome == "enrolled" and Fault.BLURRED in poor.faults
    assert "warning: the face is" in poor.reason and "blurred (sharpness " in poor.reason
    assert f"better ones are {hopper}" in poor.reason


def test_strict_refuses_a_poor_photo_and_stores_nothing(gallery: Gallery, blurred: bytes) -> None:
    refused = gallery.enroll("Ada", blurred, strict=True)
    assert refused.refusal is Refusal.POOR_PHOTO and Fault.BLURRED in refused.faults
    assert refused.reason.startswith("the face is blurred (sharpness ")
    assert gallery.identities() == []


def test_strict_enrols_a_good_photo(gallery: Gallery, hopper: Path, collins: Path) -> None:
    for name, photo in (("Grace", hopper), ("Eileen", collins)):
        assert gallery.enroll(name, photo, strict=True).outcome == "enrolled"


def test_check_and_listings_name_the_poor_face(
    gallery: Gallery, hopper: Path, blurred: bytes
) -> None:
    gallery.enroll("Grace Hopper", hopper)
    poor = gallery.enroll("Grace Hopper", blurred)
    _, faces = gallery.identity("Grace Hopper")
    assert [bool(face.faults) for face in faces] == [False, True]
    assert gallery.faces() == faces
    (finding,) = [f for f in gallery.check() if f.part == "photos"]
    assert finding.is_note and f"face {poor.face_id} of Grace Hopper (blurred" in finding.message
    gallery.forget_faces([poor.face_id])
    (finding,) = [f for f in gallery.check() if f.part == "photos"]
    assert finding.message == "no face is a poor example of its person"


@pytest.mark.parametrize("encoder", ["mobilefacenet", "dlib-resnet"])
def test_shipped_limits_have_every_fault_and_pass_good_faces(encoder: str) -> None:
    limits = limits_for(encoder)
    assert set(limits.least) == set(Fault) and limits.faults(GOOD) == ()


def test_other_encoders_are_judged_by_sharpness_only() -> None:
    assert set(limits_for("somebody's own").least) == {Fault.BLURRED}


def test_what_is_not_known_is_no_fault() -> None:
    limits = Limits({Fault.BLURRED: ("sharpness", 3.5), Fault.FAINT: ("norm", 2.0)})
    assert limits.faults(Signs(0.0, 0.0, 0.0)) == ()
    assert limits.faults(Signs(3.5, 1.5, 0.1)) == (Fault.FAINT,)
    assert limits.described((Fault.BLURRED,), Signs(1.0, 2.0, 1.0)) == (
        "blurred (sharpness 1, better from 3.5)"
    )
