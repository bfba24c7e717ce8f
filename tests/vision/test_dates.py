"""The date of a photo is read from its EXIF data while it is decoded."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from gallery.dates import checked_date
from gallery.errors import PhotoError
from gallery.vision.photo import PhotoReader
from tests.conftest import SHARED_FACES
from tests.vision.images import encoded

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "TIFF")
ORIGINAL, DIGITIZED, CHANGED = 0x9003, 0x9004, 0x0132
ODD_FILES = sorted((SHARED_FACES / "odd").glob("*"))


def with_dates(picture: Image.Image, image_format: str, dates: dict[int, object]) -> bytes:
    exif = Image.Exif()
    for tag, value in dates.items():
        (exif if tag == CHANGED else exif.get_ifd(0x8769))[tag] = value
    return encoded(picture, image_format, exif=exif.tobytes())


@pytest.mark.parametrize("image_format", FORMATS)
def test_date_is_that_of_the_original(
    reader: PhotoReader, picture: Image.Image, image_format: str
) -> None:
    dates = {
        ORIGINAL: "1998:07:14 12:30:00",
        DIGITIZED: "2011:01:02 00:00:00",
        CHANGED: "2020:01:01 00:00:00",
    }
    assert reader.decode(with_dates(picture, image_format, dates), "x").taken == "1998-07-14"
    dates[ORIGINAL] = "0000:00:00 00:00:00"
    assert reader.decode(with_dates(picture, image_format, dates), "x").taken == "2011-01-02"
    del dates[DIGITIZED]
    assert reader.decode(with_dates(picture, image_format, dates), "x").taken is None


@pytest.mark.parametrize("image_format", [*FORMATS, "BMP", "GIF", "PPM"])
def test_photo_without_exif_has_no_date(
    reader: PhotoReader, picture: Image.Image, image_format: str
) -> None:
    assert reader.decode(encoded(picture, image_format), "x").taken is None


def test_time_of_the_file_is_no_date(reader: PhotoReader, picture: Image.Image, tmp_path) -> None:
    file = tmp_path / "1998-07-14.jpg"
    file.write_bytes(encoded(picture, "JPEG"))
    os.utime(file, (900_000_000, 900_000_000))
    assert reader.read(file).taken is None


@pytest.mark.parametrize("value", [b"\xff\xfe\x00", "", "soon", 1998, (1.5, 2.5)])
def test_broken_date_is_unknown(reader: PhotoReader, picture: Image.Image, value: object) -> None:
    content = with_dates(picture, "JPEG", {ORIGINAL: value})
    assert reader.decode(content, "x").taken is None


def test_date_that_is_not_ascii_is_unknown(reader: PhotoReader, picture: Image.Image) -> None:
    content = with_dates(picture, "JPEG", {ORIGINAL: "1998:07:14 12:30:00"})
    assert reader.decode(content, "x").taken == "1998-07-14"
    assert reader.decode(content.replace(b"12:30:00", b"12 Uhr \xe9"), "x").taken is None


def test_broken_exif_block_is_unknown(reader: PhotoReader, picture: Image.Image) -> None:
    content = with_dates(picture, "JPEG", {ORIGINAL: "1998:07:14 12:30:00"})
    start = content.index(b"Exif\0\0") + 6
    taken = set()
    for position in range(start, content.index(b"1998:07:14")):
        broken = content[:position] + b"\xff" + content[position + 1 :]
        taken.add(reader.decode(broken, "x").taken)
    assert taken <= {"1998-07-14", None} and None in taken


@pytest.mark.skipif(not ODD_FILES, reason="the research photos are absent")
def test_odd_files_have_a_date_or_none(reader: PhotoReader) -> None:
    taken = {}
    for file in ODD_FILES:
        try:
            taken[file.name] = reader.read(file).taken
        except PhotoError:
            continue
    found = {name: day for name, day in taken.items() if day is not None}
    assert all(checked_date(day) == day for day in found.values())
    assert found["pillow_flower.webp"] == "2003-12-14"
    assert found["pillow_invalid-exif-without-x-resolution.jpg"] == "2016-12-03"
    assert taken["exif_Landscape_6.jpg"] is None
