"""A photo for which a model gives no numbers is one refused photo, and the rest go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.dedupe.scan import listed, see
from gallery.encoders.onnx import OnnxNetwork
from gallery.errors import FaceUnencodable
from gallery.gallery import Gallery
from gallery.training.dataset import people_in
from gallery.training.encode import Views, encode_people
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline
from tests.api.conftest import Serve
from tests.models import head_for_dlib_in_onnx, made_model


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory, eye: FacePipeline, hopper: Path, collins: Path
) -> tuple[Path, Path, Path]:
    """A model, a photo that it encodes, and a lighter one that it cannot."""
    folder = tmp_path_factory.mktemp("light")
    template = OnnxNetwork(made_model(folder / "whole.onnx", 64)).traits.template
    light: list[tuple[list[float], Path]] = []
    for path in (hopper, collins):
        photo = eye.open(path)
        chips = align(photo, eye.faces(photo)[0].landmarks, VIEWS, template)
        light.append((sorted((chips.mean(axis=(1, 2, 3)) - 127.5) / 128), path))
    (dark, usable), (bright, unusable) = sorted(light)
    assert dark[-1] < bright[0]
    model = made_model(folder / "light.onnx", 64, darkest=float(dark[-1] + bright[0]) / 2)
    return model, usable, unusable


@pytest.fixture
def home(tmp_path: Path, photos: tuple[Path, Path, Path]) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    head_for_dlib_in_onnx(photos[0], made)
    return made


@pytest.fixture
def dazzled(home: Path, cache: Path, photos: tuple[Path, Path, Path]) -> Iterator[Gallery]:
    with Gallery.open(home, cache=cache, threads=1, encoder=f"onnx:{photos[0]}") as gallery:
        yield gallery


def test_it_is_the_photo_that_is_refused(dazzled: Gallery, photos: tuple[Path, Path, Path]) -> None:
    _, usable, unusable = photos
    outcomes = [dazzled.enroll("Ada", photo) for photo in (unusable, usable)]
    assert [o.outcome for o in outcomes] == ["error", "enrolled"]
    assert "not finite" in outcomes[0].reason and str(unusable) not in outcomes[0].reason
    with pytest.raises(FaceUnencodable, match=unusable.name):
        dazzled.query(unusable)
    assert dazzled.query(usable).face is not None


def test_the_api_says_what_is_wrong_with_the_photo(
    serve: Serve, home: Path, photos: tuple[Path, Path, Path]
) -> None:
    model, usable, unusable = photos
    with serve(home, encoder=f"onnx:{model}") as client:
        enrolled = client.post(
            "/v1/identities",
            data={"name": "Ada"},
            files=[("photo", (p.name, p.read_bytes())) for p in (unusable, usable)],
        )
        assert enrolled.status_code == 201, enrolled.text
        asked = client.post("/v1/query", files={"photo": unusable.read_bytes()})
    assert asked.status_code == 422
    assert asked.json()["type"] == "urn:face-gallery:face-unencodable"
    assert "not finite" in asked.json()["detail"]


def test_it_is_skipped_where_many_are_read(
    dazzled: Gallery, photos: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "people"
    for name, photo in zip(("usable", "unusable"), photos[1:], strict=True):
        (folder / name).mkdir(parents=True)
        shutil.copy(photo, folder / name / f"{name}{photo.suffix}")
    eye = dazzled.pipeline
    people = encode_people(people_in(folder, None), eye, Views(2, 10), tmp_path / "cache")
    assert len(people) == 1
    ((skipped, reason),) = people.skipped
    assert Path(skipped).stem == "unusable" and "not finite" in reason

    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    seen = [see(eye, one, 2) for one in listed(files, eye, 2)[0]]
    assert [("not finite" in one.reason) for one in seen] == [True, False]
