"""Every supported format decodes to upright RGB of the working size."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.errors import PhotoUndecodable
from gallery.types import UInt8
from gallery.vision.photo import PhotoReader
from tests.vision.images import WORKING_SIDE, encoded, mean_difference, photo_reader, png

ORIENTATION = 0x0112


# Formats


@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 3.0),
        ("JPEG", {"quality": 95, "progressive": True}, 3.0),
        ("MPO", {"quality": 95}, 3.0),
        ("PNG", {}, 0.0),
        ("WEBP", {"lossless": True}, 0.0),
        ("WEBP", {"quality": 95}, 3.0),
        ("AVIF", {"quality": 95}, 3.0),
        ("HEIF", {"quality": 95}, 3.0),
        ("TIFF", {}, 0.0),
        ("TIFF", {"compression": "tiff_lzw"}, 0.0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 3.0),
        ("BMP", {}, 0.0),
        ("DIB", {}, 0.0),
        ("GIF", {}, 12.0),
        ("PPM", {}, 0.0),
    ],
)
def test_every_format_is_read(
    reader: PhotoReader,
    picture: Image.Image,
    image_format: str,
    options: dict[str, object],
    tolerance: float,
) -> None:
    photo = reader.decode(encoded(picture, image_format, **options), "a photo")
    assert photo.pixels.dtype == np.uint8
    assert (photo.width, photo.height, photo.scale) == (256, 300, 1.0)
    assert mean_difference(photo.pixels, np.asarray(picture)) <= tolerance


def test_format_is_detected_from_content_not_suffix(
    reader: PhotoReader, picture: Image.Image, tmp_path: Path
) -> None:
    file = tmp_path / "a png in disguise.jpg"
    file.write_bytes(encoded(picture, "PNG"))
    photo = reader.read(file)
    assert photo.source == str(file)
    assert mean_difference(photo.pixels, np.asarray(picture)) == 0.0


def test_unsupported_formats_are_refused(reader: PhotoReader, picture: Image.Image) -> None:
    for image_format in ("EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "JPEG2000"):
        with pytest.raises(PhotoUndecodable, match="supported format"):
            reader.decode(encoded(picture, image_format), image_format)


# Modes


def _deep_grey() -> tuple[bytes, UInt8]:
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(64, 64, 16, 0, rows), np.repeat((values / 257.0)[..., None], 3, axis=2)


def _deep_colour() -> tuple[bytes, UInt8]:
    values = np.random.default_rng(1).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(30, 20, 16, 2, rows), values / 257.0


@pytest.mark.parametrize("sample", [_deep_grey, _deep_colour])
def test_sixteen_bits_are_scaled_to_eight(
    reader: PhotoReader, sample: Callable[[], tuple[bytes, UInt8]]
) -> None:
    content, expected = sample()
    assert np.abs(reader.decode(content, "16 bits").pixels - expected).max() <= 1.0


@pytest.mark.parametrize("image_format", ["TIFF", "PNG", "PPM"])
def test_sixteen_bit_grey_matches_eight_bit_grey(
    reader: PhotoReader, picture: Image.Image, image_format: str
) -> None:
    grey = np.asarray(picture.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    pixels = reader.decode(encoded(deep, image_format), image_format).pixels
    assert mean_difference(pixels, np.repeat(grey[..., None], 3, axis=2)) <= 1.0


def test_floats_from_zero_to_one_are_scaled_to_eight_bits(
    reader: PhotoReader, picture: Image.Image
) -> None:
    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    content = encoded(Image.fromarray(grey / 255.0), "TIFF")
    expected = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    assert mean_difference(reader.decode(content, "floats").pixels, expected) <= 1.0


def _on_white(image: Image.Image) -> UInt8:
    rgba = np.asarray(image.convert("RGBA"), dtype=float)
    alpha = rgba[..., 3:] / 255.0
    return np.rint(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)


def _half_transparent(picture: Image.Image) -> Image.Image:
    image = picture.copy()
    image.putalpha(Image.linear_gradient("L").resize(picture.size))
    return image


@pytest.mark.parametrize(
    ("altered", "image_format", "options", "tolerance"),
    [
        pytest.param(lambda p: p.convert("CMYK"), "JPEG", {"quality": 95}, 3.0, id="CMYK JPEG"),
        pytest.param(lambda p: p.convert("CMYK"), "TIFF", {}, 0.0, id="CMYK TIFF"),
        pytest.param(lambda p: p.quantize(64), "PNG", {}, 0.0, id="palette"),
        pytest.param(
            lambda p: p.quantize(64), "PNG", {"transparency": 5}, 0.0, id="palette, transparency"
        ),
        pytest.param(
            lambda p: p.quantize(64), "GIF", {"transparency": 5}, 0.0, id="GIF with transparency"
        ),
        pytest.param(_half_transparent, "PNG", {}, 0.6, id="RGBA"),
        pytest.param(_half_transparent, "WEBP", {"lossless": True, "exact": True}, 0.6, id="WebP"),
        pytest.param(lambda p: _half_transparent(p).convert("LA"), "PNG", {}, 0.6, id="LA"),
        pytest.param(lambda p: p.convert("1"), "PNG", {}, 0.0, id="one bit"),
        pytest.param(lambda p: p.convert("1"), "TIFF", {"compression": "group4"}, 0.0, id="fax"),
        pytest.param(lambda p: p.convert("1"), "PPM", {}, 0.0, id="PBM"),
        pytest.param(lambda p: p.convert("L"), "PNG", {}, 0.0, id="grey PNG"),
        pytest.param(lambda p: p.convert("L"), "JPEG", {"quality": 95}, 3.0, id="grey JPEG"),
        pytest.param(lambda p: p.convert("L"), "PPM", {}, 0.0, id="PGM"),
        pytest.param(lambda p: p.convert("YCbCr"), "TIFF", {}, 2.0, id="YCbCr TIFF"),
        pytest.param(lambda p: p.convert("LAB"), "TIFF", {}, 3.0, id="Lab TIFF"),
    ],
)
def test_every_mode_is_converted_to_rgb_on_white(
    reader: PhotoReader,
    picture: Image.Image,
    altered: Callable[[Image.Image], Image.Image],
    image_format: str,
    options: dict[str, object],
    tolerance: float,
) -> None:
    image = altered(picture)
    photo = reader.decode(encoded(image, image_format, **options), "a photo")
    if "transparency" in options:
        opaque = np.asarray(image.convert("RGB")).copy()
        opaque[np.asarray(image) == options["transparency"]] = 255
        assert mean_difference(photo.pixels, opaque) == 0.0
    elif image.mode == "LAB":
        assert mean_difference(photo.pixels, np.asarray(picture)) <= tolerance
    else:
        assert mean_difference(photo.pixels, _on_white(image)) <= tolerance


def test_grey_png_with_a_transparent_level_is_read(
    reader: PhotoReader, picture: Image.Image
) -> None:
    grey = picture.convert("L")
    pixels = reader.decode(encoded(grey, "PNG", transparency=0), "grey").pixels
    assert mean_difference(pixels, np.asarray(grey.convert("RGB"))) < 1.0


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_is_read(
    reader: PhotoReader, picture: Image.Image, image_format: str
) -> None:
    first = picture.quantize(64)
    rest = [Image.new("RGB", picture.size, colour) for colour in ("black", "white")]
    options = {"lossless": True} if image_format == "WEBP" else {}
    content = encoded(
        first.convert("RGB"), image_format, save_all=True, append_images=rest, **options
    )
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert (
        mean_difference(
            reader.decode(content, image_format).pixels, np.asarray(first.convert("RGB"))
        )
        < 1.0
    )


# Orientation


STORED: dict[int, Callable[[UInt8], UInt8]] = {
    # EXIF orientation -> how the file stores an upright image.
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 2.5),
        ("PNG", {}, 0.0),
        ("WEBP", {"lossless": True}, 0.0),
        ("TIFF", {}, 0.0),
        ("AVIF", {"quality": 95}, 3.0),
        ("HEIF", {"quality": 95}, 3.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_exif_orientation_is_applied(
    reader: PhotoReader,
    picture: Image.Image,
    image_format: str,
    options: dict[str, object],
    tolerance: float,
    orientation: int,
) -> None:
    upright = np.asarray(picture)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    photo = reader.decode(
        encoded(stored, image_format, exif=exif.tobytes(), **options), image_format
    )
    assert (photo.width, photo.height) == picture.size
    assert mean_difference(photo.pixels, upright) <= tolerance


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_invalid_orientation_is_ignored(
    reader: PhotoReader, picture: Image.Image, value: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    pixels = reader.decode(encoded(picture, "PNG", exif=exif), "odd").pixels
    assert mean_difference(pixels, np.asarray(picture)) == 0.0


def test_broken_exif_is_ignored(reader: PhotoReader, picture: Image.Image) -> None:
    content = encoded(picture, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert mean_difference(reader.decode(content, "odd").pixels, np.asarray(picture)) < 3.0


# Size


@pytest.mark.parametrize(
    ("width", "height"),
    [(2048, 2048), (2049, 1000), (3000, 1000), (1000, 3000), (4095, 4096), (4097, 100), (9001, 5)],
)
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_large_photo_is_shrunk_to_the_working_side(
    reader: PhotoReader, image_format: str, width: int, height: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(Image.new("RGB", (width, height), "teal"), image_format, exif=exif)
    photo = reader.decode(content, "large")
    upright = (width, height) if orientation == 1 else (height, width)
    assert (photo.width, photo.height) == upright
    assert max(photo.pixels.shape[:2]) == min(WORKING_SIDE, max(width, height))
    assert photo.scale == max(width, height) / max(photo.pixels.shape[:2])
    shown = photo.pixels.shape[1] * photo.scale, photo.pixels.shape[0] * photo.scale
    assert shown == pytest.approx(upright, abs=photo.scale)


@pytest.mark.parametrize("factor", [1.3, 2.0, 2.7, 3.0, 8.1])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_shrinking_keeps_positions(image_format: str, factor: float) -> None:
    small = photo_reader(working_side=256)
    width, height = round(256 * factor), round(200 * factor)
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = round(0.6 * width), round(0.3 * height)
    side = round(40 * factor)
    canvas[top : top + side, left : left + side] = 255
    photo = small.decode(encoded(Image.fromarray(canvas), image_format), "a square")
    brightness = photo.pixels[..., 0].astype(float) / 255.0
    rows, columns = np.indices(brightness.shape) + 0.5
    centre = (
        np.array([(columns * brightness).sum(), (rows * brightness).sum()])
        / brightness.sum()
        * photo.scale
    )
    assert centre == pytest.approx((left + side / 2, top + side / 2), abs=0.6 * factor)
    assert np.sqrt(brightness.sum()) * photo.scale == pytest.approx(side, rel=0.03)


PEAK_OF_DECODING = """
import resource, sys
from gallery.vision.photo import PhotoReader
photo = PhotoReader(max_bytes=2**28, max_pixels=128_000_000, working_side=2048).read(sys.argv[1])
try:  # ru_maxrss would count the memory of the forked test process
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) * 1024
except OSError:
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(*photo.pixels.shape, photo.scale, peak)
"""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("image_format", "options"),
    [("JPEG", {"progressive": True}), ("PNG", {"compress_level": 1})],
)
def test_hundred_megapixels_decode_within_two_gibibytes(
    tmp_path: Path, image_format: str, options: dict[str, object]
) -> None:
    file = tmp_path / "large"
    Image.new("RGB", (12_500, 8_000), "teal").save(file, image_format, **options)
    command = [sys.executable, "-c", PEAK_OF_DECODING, str(file)]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    rows, columns, channels, scale, peak = map(float, result.stdout.split())
    assert (rows, columns, channels) == (1311, 2048, 3)
    assert scale == 12_500 / 2048
    assert peak < 2 * 2**30, f"decoding took {peak / 2**20:.0f} MiB"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF"])
def test_decoding_is_repeatable(
    reader: PhotoReader, hopper: Path, picture: Image.Image, image_format: str
) -> None:
    content = encoded(picture, image_format)
    first = reader.decode(content, "first")
    reader.read(hopper)
    second = photo_reader().decode(content, "second")
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.pixels, second.pixels)
