"""Every supported format decodes to upright RGB within limits; everything else is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.errors import PhotoError, PhotoTooLarge, PhotoUndecodable, PhotoUnreadable
from gallery.types import UInt8
from gallery.vision.photo import PhotoReader, photos_in

MAX_BYTES, MAX_PIXELS, WORKING_SIDE = 256 * 2**20, 128_000_000, 2048
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def reader() -> PhotoReader:
    return PhotoReader(max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, working_side=WORKING_SIDE)


@pytest.fixture(scope="module")
def picture(hopper: Path, reader: PhotoReader) -> Image.Image:
    """Hopper, 256 x 300, RGB."""
    return Image.open(hopper).convert("RGB").resize((256, 300))


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, image_format, **options)
    return content.getvalue()


def mean_difference(a: UInt8, b: UInt8) -> float:
    """The mean absolute difference of two images, in grey levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG assembled by hand. rows : with their filter bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return len(data).to_bytes(4) + checked + zlib.crc32(checked).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes((bits, colour, 0, 0, 0))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


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


@pytest.mark.parametrize("made", [_deep_grey, _deep_colour])
def test_sixteen_bits_are_scaled_to_eight(
    reader: PhotoReader, made: Callable[[], tuple[bytes, UInt8]]
) -> None:
    content, expected = made()
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
    small = PhotoReader(max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, working_side=256)
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
    second = PhotoReader(
        max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, working_side=WORKING_SIDE
    ).decode(content, "second")
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.pixels, second.pixels)


# Refusals


def test_too_many_bytes_are_refused(hopper: Path) -> None:
    size = hopper.stat().st_size
    small = PhotoReader(max_bytes=size - 1, max_pixels=MAX_PIXELS, working_side=WORKING_SIDE)
    for read in (lambda: small.read(hopper), lambda: small.decode(hopper.read_bytes(), "bytes")):
        with pytest.raises(PhotoTooLarge, match=f"{size:,}.*{size - 1:,}.*GALLERY_MAX_PHOTO_BYTES"):
            read()
    PhotoReader(max_bytes=size, max_pixels=MAX_PIXELS, working_side=WORKING_SIDE).read(hopper)


def test_too_many_pixels_are_refused(picture: Image.Image) -> None:
    pixels = picture.width * picture.height
    content = encoded(picture, "PNG")
    small = PhotoReader(max_bytes=MAX_BYTES, max_pixels=pixels - 1, working_side=WORKING_SIDE)
    limits = rf"256 x 300 = {pixels:,}.*{pixels - 1:,}.*GALLERY_MAX_PHOTO_PIXELS"
    with pytest.raises(PhotoTooLarge, match=limits):
        small.decode(content, "a photo")
    PhotoReader(max_bytes=MAX_BYTES, max_pixels=pixels, working_side=WORKING_SIDE).decode(
        content, "a photo"
    )


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
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
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


# Folders


def test_photos_in_subfolders_are_listed(tmp_path: Path) -> None:
    for name in (
        "b.jpg",
        "a.JPEG",
        "notes.txt",
        "no suffix",
        ".hidden.jpg",
        "c/z.heic",
        "c/deep/er/y.PNG",
        ".cache/thumbnail.jpg",
        "c/.trash/x.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d.jpg").mkdir()
    paths = [p.relative_to(tmp_path).as_posix() for p in photos_in(tmp_path)]
    assert sorted(paths) == ["a.JPEG", "b.jpg", "c/deep/er/y.PNG", "c/z.heic"]
    assert photos_in(tmp_path) == sorted(photos_in(tmp_path))


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.jpg").touch()
    (inside / "round").symlink_to(inside, target_is_directory=True)
    (inside / "out").symlink_to(outside, target_is_directory=True)
    (inside / "out.jpg").symlink_to(outside / "a.jpg")
    (inside / "nowhere.jpg").symlink_to(tmp_path / "missing.jpg")
    names = [photo.name for photo in photos_in(inside)]
    assert names == ["a.jpg", "nowhere.jpg", "out.jpg"]  # the dangling link fails when opened


def test_path_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for path in (tmp_path / "a.jpg", tmp_path / "missing", Path("n\0ul")):
        with pytest.raises(PhotoUnreadable, match="is not a folder"):
            photos_in(path)


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
