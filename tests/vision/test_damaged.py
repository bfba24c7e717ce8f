"""Files that are almost whole, wrapped, or of another depth than their type says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gallery.errors import PhotoUndecodable
from gallery.vision.photo import PhotoReader
from tests.vision.images import encoded, mean_difference

HEADER = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 1234\r\n\r\n"


@pytest.fixture(scope="module")
def large(picture: Image.Image) -> Image.Image:
    return picture.resize((1024, 1200), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_without_its_end_is_read_with_a_note(
    reader: PhotoReader, large: Image.Image, progressive: bool
) -> None:
    content = encoded(large, "JPEG", quality=90, progressive=progressive)
    whole, cut = reader.decode(content, "whole"), reader.decode(content[:-2], "cut")
    assert mean_difference(whole.pixels, cut.pixels) < 0.1
    assert whole.note == "" and "cut short" in cut.note


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_that_lacks_a_twentieth_is_read_with_a_note(
    reader: PhotoReader, large: Image.Image, progressive: bool
) -> None:
    content = encoded(large, "JPEG", quality=90, progressive=progressive)
    whole = reader.decode(content, "whole")
    cut = reader.decode(content[: int(len(content) * 0.95)], "cut")
    rows = round(0.89 * whole.height)
    assert mean_difference(whole.pixels[:rows], cut.pixels[:rows]) < 0.5
    assert "cut short" in cut.note
    assert ("grey" in cut.note) is not progressive
    assert cut.sha256 != whole.sha256


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_half_a_jpeg_is_refused(
    reader: PhotoReader, large: Image.Image, progressive: bool, share: float
) -> None:
    content = encoded(large, "JPEG", quality=90, progressive=progressive)
    with pytest.raises(PhotoUndecodable, match="truncated"):
        reader.decode(content[: int(len(content) * share)], "cut")


@pytest.mark.parametrize("header", [b"\r\n", b"\n", HEADER, HEADER.replace(b"\r", b""), HEADER[9:]])
def test_jpeg_of_a_stream_is_read(reader: PhotoReader, picture: Image.Image, header: bytes) -> None:
    content = encoded(picture, "JPEG")
    plain, wrapped = reader.decode(content, "plain"), reader.decode(header + content, "wrapped")
    np.testing.assert_array_equal(plain.pixels, wrapped.pixels)
    assert wrapped.note == ""


def test_text_before_no_jpeg_is_refused(reader: PhotoReader, picture: Image.Image) -> None:
    for content in (HEADER, HEADER + encoded(picture, "PNG"), b"\r\n" + b"\xff\xd8\xff"):
        with pytest.raises(PhotoUndecodable):
            reader.decode(content, "text")


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [12, 14, 16])
def test_pixels_are_stretched_by_the_bits_in_use(
    reader: PhotoReader, picture: Image.Image, image_format: str, bits: int
) -> None:
    grey = np.asarray(picture.convert("L"))
    values = np.rint(grey / 255.0 * (2**bits - 1)).astype(np.uint16)
    pixels = reader.decode(encoded(Image.fromarray(values), image_format), "deep").pixels
    assert mean_difference(pixels, np.repeat(grey[..., None], 3, axis=2)) <= 1.0


def test_almost_black_photo_of_sixteen_bits_stays_dark(reader: PhotoReader) -> None:
    noise = np.random.default_rng(1).integers(256, 900, (60, 80)).astype(np.uint16)
    assert reader.decode(encoded(Image.fromarray(noise), "PNG"), "night").pixels.max() <= 4


def test_white_that_a_tiff_declares_is_white(reader: PhotoReader) -> None:
    values = np.full((60, 80), 1500, np.uint16)
    content = encoded(Image.fromarray(values), "TIFF", tiffinfo={281: 65535})
    assert reader.decode(content, "night").pixels.max() == 1500 * 255 // 65535
