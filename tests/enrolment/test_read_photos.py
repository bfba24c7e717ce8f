"""A photo that was read with its folder is enrolled as it is alone, without being decoded again."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import update

from gallery import Gallery
from gallery.store import kept_images
from gallery.store.dedupe_tables import CachedPhotoRow
from gallery.store.records import FaceRecord
from gallery.types import Box, Photo, Refusal
from gallery.vision.photo import PhotoReader

OpenGallery = Callable[..., Gallery]


@pytest.fixture
def open_gallery(tmp_path: Path, cache: Path) -> OpenGallery:
    def opened(home: str, **settings: object) -> Gallery:
        return Gallery.open(tmp_path / home, cache=cache, threads=1, **settings)

    return opened


@pytest.fixture
def cut(tmp_path: Path, hopper: Path) -> Path:
    """people/Grace/cut.jpg: with a date, and without its last rows."""
    file = tmp_path / "people" / "Grace" / "cut.jpg"
    file.parent.mkdir(parents=True)
    with Image.open(hopper) as image:
        exif = image.getexif()
        exif.get_ifd(0x8769)[0x9003] = "1984:05:06 07:08:09"
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", exif=exif)
    file.write_bytes(buffer.getvalue()[: -len(buffer.getvalue()) // 20])
    return file


def stored(gallery: Gallery) -> FaceRecord:
    """The face, rounded as it is kept with what was read."""
    (face,) = gallery.identity("Grace")[1]
    return replace(
        face,
        created_at=datetime(2000, 1, 1, tzinfo=UTC),
        box=Box(*face.box.as_list()),
        probability=round(face.probability, 5),
        sharpness=round(face.sharpness, 2),
        norm=round(face.norm, 4),
        agreement=round(face.agreement, 4),
    )


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of photos, as they are decoded."""
    names: list[str] = []
    decode = PhotoReader.decode

    def counted(reader: PhotoReader, content: bytes, source: str) -> Photo:
        names.append(source)
        return decode(reader, content, source)

    monkeypatch.setattr(PhotoReader, "decode", counted)
    return names


def test_date_and_damage_are_those_of_the_photo_alone(
    open_gallery: OpenGallery, cut: Path, decoded: list[str]
) -> None:
    with open_gallery("alone") as gallery:
        reason = gallery.enroll("Grace", cut).reason
        alone = stored(gallery)
    assert alone.taken == "1984-05-06" and "cut short" in reason
    decoded.clear()
    with open_gallery("folder") as gallery:
        (enrolment,) = gallery.enroll_folder(cut.parents[1])
        assert (enrolment.reason, stored(gallery)) == (reason, alone)
        assert len(decoded) == 1
    with open_gallery("thumbnails", thumbnails=True) as gallery:
        (enrolment,) = gallery.enroll_folder(cut.parents[1])
        assert (enrolment.reason, stored(gallery)) == (reason, alone)
        with gallery.database.reading() as session:
            assert kept_images.thumbnail(session, alone.id).startswith(b"\xff\xd8")


def test_photo_read_by_an_older_version_is_decoded_again(
    open_gallery: OpenGallery, cut: Path, decoded: list[str]
) -> None:
    """Before schema 0010, neither date nor damage was stored with what was read."""

    def stop_after_reading(step: str, done: int, total: int) -> None:
        if step == "reading photos" and done:
            raise KeyboardInterrupt

    with open_gallery("home") as gallery:
        with pytest.raises(KeyboardInterrupt):
            list(gallery.enroll_folder(cut.parents[1], progress=stop_after_reading))
        with gallery.database.writing() as session:
            forgotten = session.execute(update(CachedPhotoRow).values(taken=None, note=None))
            assert forgotten.rowcount == 1
        decoded.clear()
        (enrolment,) = gallery.enroll_folder(cut.parents[1])
        assert stored(gallery).taken == "1984-05-06" and "cut short" in enrolment.reason
        assert len(decoded) == 1


def test_photo_without_a_face_has_the_reason_that_it_has_alone(
    open_gallery: OpenGallery, tmp_path: Path, no_one: list[Path], hopper: Path
) -> None:
    folder = tmp_path / "people" / "Grace"
    folder.mkdir(parents=True)
    with Image.open(no_one[0]) as image:
        image.convert("RGB").resize((1600, 1000)).save(folder / "empty.png")
    shutil.copy(hopper, folder)
    with open_gallery("home") as gallery:
        alone = gallery.enroll("Grace", folder / "empty.png")
        assert alone.refusal is Refusal.NO_FACE and "80 pixels" in alone.reason
        by_folder = list(gallery.enroll_folder(folder.parent))
        assert alone in by_folder


def test_photo_that_changed_since_it_was_read_is_read_again(
    open_gallery: OpenGallery, cut: Path, collins: Path
) -> None:
    def replace_after_reading(step: str, done: int, total: int) -> None:
        if step == "reading photos" and done == total:
            shutil.copy(collins, cut)

    with open_gallery("home") as gallery:
        (enrolment,) = gallery.enroll_folder(cut.parents[1], progress=replace_after_reading)
        face = stored(gallery)
    with open_gallery("alone") as gallery:
        gallery.enroll("Grace", cut)
        assert stored(gallery) == face and "cut short" not in enrolment.reason


@pytest.mark.parametrize("keep", ["chips", "photos"])
def test_kept_picture_is_that_of_the_photo_alone(
    open_gallery: OpenGallery, cut: Path, keep: str
) -> None:
    kept = []
    for home in ("alone", "folder"):
        with open_gallery(home, keep=keep) as gallery:
            if home == "alone":
                gallery.enroll("Grace", cut)
            else:
                list(gallery.enroll_folder(cut.parents[1]))
            with gallery.database.reading() as session:
                picture = kept_images.get(session, stored(gallery).id)
        assert picture is not None
        kept.append(picture.content)
    assert kept[0] == kept[1]
