"""Files over the limits, broken files and anything but photos are refused, before decoding them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.errors import PhotoError, PhotoTooLarge, PhotoUndecodable, PhotoUnreadable
from gallery.vision.photo import PhotoReader
from tests.vision.images import WORKING_SIDE, encoded, photo_reader, png

# Refusals


def test_too_many_bytes_are_refused(hopper: Path) -> None:
    size = hopper.stat().st_size
    small = photo_reader(max_bytes=size - 1)
    for read in (lambda: small.read(hopper), lambda: small.decode(hopper.read_bytes(), "bytes")):
        with pytest.raises(PhotoTooLarge, match=f"{size:,}.*{size - 1:,}.*GALLERY_MAX_PHOTO_BYTES"):
            read()
    photo_reader(max_bytes=size).read(hopper)


def test_too_many_pixels_are_refused(picture: Image.Image) -> None:
    pixels = picture.width * picture.height
    content = encoded(picture, "PNG")
    small = photo_reader(max_pixels=pixels - 1)
    limits = rf"256 x 300 = {pixels:,}.*{pixels - 1:,}.*GALLERY_MAX_PHOTO_PIXELS"
    with pytest.raises(PhotoTooLarge, match=limits):
        small.decode(content, "a photo")
    photo_reader(max_pixels=pixels).decode(content, "a photo")


def _jpeg_header(width: int, height: int) -> bytes:
    content = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    frame = content.index(b"\xff\xc0") + 5
    content[frame : frame + 4] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(content)


@pytest.mark.parametrize("side", [11_400, 13_000, 60_000])
@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(lambda side: png(side, side, 8, 2, b""), id="PNG"),
        pytest.param(lambda side: _jpeg_header(side, side), id="JPEG"),
        pytest.param(
            lambda side: (
                b"GIF89a"
                + side.to_bytes(2, "little") * 2
                + b"\x80\0\0"
                + bytes(6)
                + b","
                + bytes(4)
                + side.to_bytes(2, "little") * 2
                + b"\0\x08\0;"
            ),
            id="GIF",
        ),
        pytest.param(lambda side: f"P6 {side} {side} 255\n".encode(), id="PPM"),
    ],
)
def test_decompression_bomb_is_refused_by_its_header(
    reader: PhotoReader, bomb: Callable[[int], bytes], side: int
) -> None:
    with pytest.raises(PhotoTooLarge, match="bomb"):
        reader.decode(bomb(side), "bomb")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="a line"),
        pytest.param("not a photo, über".encode() * 100, id="text"),
        pytest.param(b"%PDF-1.7\n" + bytes(1000), id="PDF"),
        pytest.param(b"PK\x03\x04" + bytes(1000), id="archive"),
        pytest.param(b"\xff\xd8\xff", id="a JPEG's first bytes"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="a PNG's first bytes"),
        pytest.param(b"GIF89a", id="a GIF's first bytes"),
        pytest.param(b"II*\0\x08\0\0\0", id="a TIFF's first bytes"),
        pytest.param(png(0, 10, 8, 2, b""), id="a PNG without width"),
        pytest.param(png(10, 10, 8, 2, b""), id="a PNG without pixels"),
    ],
)
def test_file_that_is_not_a_photo_is_refused(
    reader: PhotoReader, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    with pytest.raises(PhotoUndecodable, match=r"photo\.jpg.*JPEG or PNG"):
        reader.read(file)


@pytest.mark.parametrize(
    "image_format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "PPM"]
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_truncated_photo_is_refused(
    reader: PhotoReader, picture: Image.Image, image_format: str, share: float
) -> None:
    content = encoded(picture, image_format)
    with pytest.raises(PhotoUndecodable, match="cut"):
        reader.decode(content[: int(len(content) * share)], "cut")


@pytest.mark.parametrize(
    "image_format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "GIF"]
)
def test_corrupt_bytes_give_a_photo_or_a_photo_error(
    reader: PhotoReader, picture: Image.Image, image_format: str
) -> None:
    content = encoded(picture.resize((64, 75)), image_format)
    random = np.random.default_rng(2)
    for _ in range(40):
        altered = bytearray(content)
        for position in random.integers(0, min(len(content), 600), 3):
            altered[position] = random.integers(256)
        try:
            photo = reader.decode(bytes(altered), "altered")
        except PhotoError:
            continue
        assert photo.pixels.ndim == 3 and photo.pixels.shape[2] == 3


def test_unusual_real_files_give_a_photo_or_a_photo_error(
    reader: PhotoReader, shared_faces: Path
) -> None:
    files = sorted(p for p in (shared_faces / "odd").iterdir() if p.is_file())
    assert len(files) > 100
    for file in files:
        try:
            photo = reader.read(file)
        except PhotoError as error:
            assert str(file) in str(error)
        else:
            assert photo.pixels.dtype == np.uint8 and photo.pixels.shape[2] == 3
            assert max(photo.pixels.shape[:2]) <= WORKING_SIDE


def test_path_that_is_not_a_regular_file_is_refused(reader: PhotoReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for path, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.jpg", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (tmp_path / "loop.jpg", "cannot be read"),
        (tmp_path / "missing.jpg", "No such file"),
        (tmp_path / "n\0ul.jpg", "null byte|null character"),
        (str(tmp_path / "n\0ul.jpg"), "null byte|null character"),
        (tmp_path / ("x" * 300), "too long"),
        ("", "No such file"),
    ):
        with pytest.raises(PhotoUnreadable, match=reason):
            reader.read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_photo_is_refused(reader: PhotoReader, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").touch(mode=0o000)
    with pytest.raises(PhotoUnreadable, match="Permission denied"):
        reader.read(tmp_path / "secret.jpg")


# Scans of a JPEG


def _with_scans(content: bytes, count: int) -> bytes:
    """The progressive JPEG with its last scan, a refinement, repeated `count` times."""
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def test_jpeg_with_a_thousand_scans_is_refused(reader: PhotoReader, picture: Image.Image) -> None:
    honest = encoded(picture, "JPEG", progressive=True)
    assert reader.decode(honest, "honest").width == 256
    with pytest.raises(PhotoUndecodable, match="more than 100 scans"):
        reader.decode(_with_scans(honest, 1_000), "hostile")
    empty = b"\xff\xfe\x00\x02" * 20_000  # empty comments
    with pytest.raises(PhotoUndecodable, match="10,000 segments"):
        reader.decode(honest[:2] + empty + honest[2:], "hostile")


def test_only_scans_of_the_first_image_are_counted(
    reader: PhotoReader, picture: Image.Image
) -> None:
    honest = encoded(picture, "JPEG", progressive=True)
    scans = b"\xff\xda\x00\x02" * 200
    comment = b"\xff\xfe" + (len(scans) + 2).to_bytes(2, "big") + scans
    for content in (honest + scans, honest[:2] + comment + honest[2:]):
        assert reader.decode(content, "with a video or a thumbnail").width == 256
