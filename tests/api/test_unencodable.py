"""A face the encoder returns NaN for: that photo is refused, the others are processed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.dedupe.scan import list_photos, read_photo
from gallery.encoders.onnx import OnnxNetwork
from gallery.encoders.protocol import Views
from gallery.errors import FaceUnencodable
from gallery.gallery import Gallery
from gallery.training.dataset import people_in
from gallery.training.encode import encode_people
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline
from tests.api.conftest import Serve
from tests.models import save_dlib_onnx_head, write_model


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory, pipeline: FacePipeline, hopper: Path, collins: Path
) -> tuple[Path, Path, Path]:
    """A model, a photo that it can encode, and a lighter one that it cannot."""
    folder = tmp_path_factory.mktemp("light")
    template = OnnxNetwork(write_model(folder / "whole.onnx", 64)).traits.template
    light: list[tuple[list[float], Path]] = []
    for path in (hopper, collins):
        photo = pipeline.open(path)
        chips = align(photo, pipeline.faces(photo)[0].landmarks, VIEWS, template)
        light.append((sorted((chips.mean(axis=(1, 2, 3)) - 127.5) / 128), path))
    (dark, usable), (bright, unusable) = sorted(light)
    assert dark[-1] < bright[0]
    model = write_model(folder / "light.onnx", 64, nan_from=float(dark[-1] + bright[0]) / 2)
    return model, usable, unusable


@pytest.fixture
def home(tmp_path: Path, photos: tuple[Path, Path, Path]) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    save_dlib_onnx_head(photos[0], folder)
    return folder


@pytest.fixture
def gallery(home: Path, cache: Path, photos: tuple[Path, Path, Path]) -> Iterator[Gallery]:
    with Gallery.open(home, cache=cache, threads=1, encoder=f"onnx:{photos[0]}") as opened:
        yield opened


def test_only_the_unencodable_photo_is_refused(
    gallery: Gallery, photos: tuple[Path, Path, Path]
) -> None:
    _, usable, unusable = photos
    enrolments = [gallery.enroll("Ada", photo) for photo in (unusable, usable)]
    assert [enrolment.outcome for enrolment in enrolments] == ["error", "enrolled"]
    assert "not finite" in enrolments[0].reason and str(unusable) not in enrolments[0].reason
    with pytest.raises(FaceUnencodable, match=unusable.name):
        gallery.query(unusable)
    assert gallery.query(usable).face is not None


def test_api_reports_the_unencodable_photo(
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
        response = client.post("/v1/query", files={"photo": unusable.read_bytes()})
    assert response.status_code == 422
    assert response.json()["type"] == "urn:face-gallery:face-unencodable"
    assert "not finite" in response.json()["detail"]


def test_unencodable_photo_is_skipped_among_many(
    gallery: Gallery, photos: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "people"
    for name, photo in zip(("usable", "unusable"), photos[1:], strict=True):
        (folder / name).mkdir(parents=True)
        shutil.copy(photo, folder / name / f"{name}{photo.suffix}")
    pipeline = gallery.pipeline
    people = encode_people(people_in(folder, None), pipeline, Views(2, 10), tmp_path / "cache")
    assert len(people) == 1
    ((skipped, reason),) = people.skipped
    assert Path(skipped).stem == "unusable" and "not finite" in reason

    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    scans = [read_photo(pipeline, photo, 2) for photo in list_photos(files, pipeline, 2)[0]]
    assert ["not finite" in scan.reason for scan in scans] == [True, False]
