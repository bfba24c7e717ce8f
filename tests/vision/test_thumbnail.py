"""Thumbnails show the face, carry no metadata, are stored on request and erased with the face."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from gallery.errors import ThumbnailNotFound
from gallery.gallery import Gallery
from gallery.store import kept_images
from gallery.vision.crops import THUMBNAIL_SIDE, thumbnail
from gallery.vision.pipeline import FacePipeline


def test_thumbnail_shows_the_face_without_metadata(
    pipeline: FacePipeline, hopper: Path, tmp_path: Path
) -> None:
    image = Image.open(hopper)
    exif = image.getexif()
    exif[0x010E] = "Somewhere"
    image.save(tmp_path / "with_exif.jpg", exif=exif)
    photo = pipeline.open(tmp_path / "with_exif.jpg")
    (face,) = pipeline.faces(photo)
    jpeg = thumbnail(photo, face)
    small = Image.open(io.BytesIO(jpeg))
    assert small.format == "JPEG" and max(small.size) == THUMBNAIL_SIDE and not small.getexif()
    assert b"Somewhere" not in jpeg
    enlarged = pipeline.open(_saved(small.resize((640, 640)), tmp_path))
    assert len(pipeline.faces(enlarged)) == 1


def _saved(image: Image.Image, folder: Path) -> Path:
    image.save(folder / "enlarged.png")
    return folder / "enlarged.png"


@pytest.mark.parametrize("stored", [False, True])
def test_thumbnail_is_stored_on_request_and_erased_with_the_face(
    stored: bool, pipeline: FacePipeline, hopper: Path, cache: Path, tmp_path: Path
) -> None:
    with Gallery.open(tmp_path / "home", cache=cache, threads=1, thumbnails=stored) as gallery:
        face_id = gallery.enroll("Grace Hopper", hopper).face_id
        assert face_id is not None
        with gallery.database.reading() as session:
            if not stored:
                with pytest.raises(ThumbnailNotFound):
                    kept_images.thumbnail(session, face_id)
                return
            jpeg = kept_images.thumbnail(session, face_id)
        gallery.forget("Grace Hopper")
        with gallery.database.reading() as session, pytest.raises(ThumbnailNotFound):
            kept_images.thumbnail(session, face_id)
    assert jpeg[200:400] not in b"".join(f.read_bytes() for f in (tmp_path / "home").iterdir())
