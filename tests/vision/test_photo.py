"""Every format becomes upright RGB within limits, and what is no photo is told so, at once."""

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


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def away(a: UInt8, b: UInt8) -> float:
    """The mean difference of two pictures, in grey levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand: rows with their filter bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sealed = kind + data
        return len(data).to_bytes(4) + sealed + zlib.crc32(sealed).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes((bits, colour, 0, 0, 0))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Formats


@pytest.mark.parametrize(
    ("form", "options", "allowed"),
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
    reader: PhotoReader, picture: Image.Image, form: str, options: dict[str, object], allowed: float
) -> None:
    photo = reader.decode(encoded(picture, form, **options), "a photo")
    assert photo.pixels.dtype == np.uint8
    assert (photo.width, photo.height, photo.scale) == (256, 300, 1.0)
    assert away(photo.pixels, np.asarray(picture)) <= allowed


def test_the_name_of_a_file_says_nothing_about_its_format(
    reader: PhotoReader, picture: Image.Image, tmp_path: Path
) -> None:
    file = tmp_path / "a png in disguise.jpg"
    file.write_bytes(encoded(picture, "PNG"))
    photo = reader.read(file)
    assert photo.source == str(file)
    assert away(photo.pixels, np.asarray(picture)) == 0.0


def test_programs_and_documents_are_never_opened(reader: PhotoReader, picture: Image.Image) -> None:
    for form in ("EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "JPEG2000"):
        with pytest.raises(PhotoUndecodable, match="supported format"):
            reader.decode(encoded(picture, form), form)


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
def test_sixteen_bits_become_eight(
    reader: PhotoReader, made: Callable[[], tuple[bytes, UInt8]]
) -> None:
    content, wanted = made()
    assert np.abs(reader.decode(content, "16 bits").pixels - wanted).max() <= 1.0


@pytest.mark.parametrize("form", ["TIFF", "PNG", "PPM"])
def test_a_deep_grey_photo_looks_like_the_shallow_one(
    reader: PhotoReader, picture: Image.Image, form: str
) -> None:
    grey = np.asarray(picture.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    pixels = reader.decode(encoded(deep, form), form).pixels
    assert away(pixels, np.repeat(grey[..., None], 3, axis=2)) <= 1.0


def test_floating_point_from_zero_to_one_becomes_eight_bits(
    reader: PhotoReader, picture: Image.Image
) -> None:
    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    content = encoded(Image.fromarray(grey / 255.0), "TIFF")
    wanted = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    assert away(reader.decode(content, "floats").pixels, wanted) <= 1.0


def _on_white(image: Image.Image) -> UInt8:
    rgba = np.asarray(image.convert("RGBA"), dtype=float)
    alpha = rgba[..., 3:] / 255.0
    return np.rint(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)


def _half_transparent(picture: Image.Image) -> Image.Image:
    image = picture.copy()
    image.putalpha(Image.linear_gradient("L").resize(picture.size))
    return image


@pytest.mark.parametrize(
    ("altered", "form", "options", "allowed"),
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
def test_every_mode_becomes_rgb_on_white(
    reader: PhotoReader,
    picture: Image.Image,
    altered: Callable[[Image.Image], Image.Image],
    form: str,
    options: dict[str, object],
    allowed: float,
) -> None:
    image = altered(picture)
    photo = reader.decode(encoded(image, form, **options), "a photo")
    if "transparency" in options:
        opaque = np.asarray(image.convert("RGB")).copy()
        opaque[np.asarray(image) == options["transparency"]] = 255
        assert away(photo.pixels, opaque) == 0.0
    elif image.mode == "LAB":
        assert away(photo.pixels, np.asarray(picture)) <= allowed
    else:
        assert away(photo.pixels, _on_white(image)) <= allowed


def test_a_grey_png_that_names_a_transparent_level_is_read(
    reader: PhotoReader, picture: Image.Image
) -> None:
    grey = picture.convert("L")
    pixels = reader.decode(encoded(grey, "PNG", transparency=0), "grey").pixels
    assert away(pixels, np.asarray(grey.convert("RGB"))) < 1.0


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(
    reader: PhotoReader, picture: Image.Image, form: str
) -> None:
    first = picture.quantize(64)
    rest = [Image.new("RGB", picture.size, colour) for colour in ("black", "white")]
    options = {"lossless": True} if form == "WEBP" else {}
    content = encoded(first.convert("RGB"), form, save_all=True, append_images=rest, **options)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert away(reader.decode(content, form).pixels, np.asarray(first.convert("RGB"))) < 1.0


# Upright


STORED: dict[int, Callable[[UInt8], UInt8]] = {
    # How EXIF says an upright picture lies in the file: where its first row and column went.
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
    ("form", "options", "allowed"),
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
def test_a_photo_stands_upright_however_it_lies(
    reader: PhotoReader,
    picture: Image.Image,
    form: str,
    options: dict[str, object],
    allowed: float,
    orientation: int,
) -> None:
    upright = np.asarray(picture)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lying = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    photo = reader.decode(encoded(lying, form, exif=exif.tobytes(), **options), form)
    assert (photo.width, photo.height) == picture.size
    assert away(photo.pixels, upright) <= allowed


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(
    reader: PhotoReader, picture: Image.Image, value: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    pixels = reader.decode(encoded(picture, "PNG", exif=exif), "odd").pixels
    assert away(pixels, np.asarray(picture)) == 0.0


def test_broken_exif_changes_nothing(reader: PhotoReader, picture: Image.Image) -> None:
    content = encoded(picture, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert away(reader.decode(content, "odd").pixels, np.asarray(picture)) < 3.0


# Size


@pytest.mark.parametrize(
    ("width", "height"),
    [(2048, 2048), (2049, 1000), (3000, 1000), (1000, 3000), (4095, 4096), (4097, 100), (9001, 5)],
)
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_large_photo_is_shrunk_to_the_working_side(
    reader: PhotoReader, form: str, width: int, height: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(Image.new("RGB", (width, height), "teal"), form, exif=exif)
    photo = reader.decode(content, "large")
    upright = (width, height) if orientation == 1 else (height, width)
    assert (photo.width, photo.height) == upright
    assert max(photo.pixels.shape[:2]) == min(WORKING_SIDE, max(width, height))
    assert photo.scale == max(width, height) / max(photo.pixels.shape[:2])
    shown = photo.pixels.shape[1] * photo.scale, photo.pixels.shape[0] * photo.scale
    assert shown == pytest.approx(upright, abs=photo.scale)


@pytest.mark.parametrize("factor", [1.3, 2.0, 2.7, 3.0, 8.1])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_what_is_seen_in_the_shrunk_photo_lies_where_it_was(form: str, factor: float) -> None:
    small = PhotoReader(max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, working_side=256)
    width, height = round(256 * factor), round(200 * factor)
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = round(0.6 * width), round(0.3 * height)
    side = round(40 * factor)
    canvas[top : top + side, left : left + side] = 255
    photo = small.decode(encoded(Image.fromarray(canvas), form), "a square")
    light = photo.pixels[..., 0].astype(float) / 255.0
    rows, columns = np.indices(light.shape) + 0.5
    centre = np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum() * photo.scale
    assert centre == pytest.approx((left + side / 2, top + side / 2), abs=0.6 * factor)
    assert np.sqrt(light.sum()) * photo.scale == pytest.approx(side, rel=0.03)


PEAK_OF_DECODING = """
import resource, sys
from gallery.vision.photo import PhotoReader
photo = PhotoReader(max_bytes=2**28, max_pixels=128_000_000, working_side=2048).read(sys.argv[1])
try:  # what a process began as counts in ru_maxrss, and that was a copy of the tests
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) * 1024
except OSError:
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(*photo.pixels.shape, photo.scale, peak)
"""


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {"progressive": True}), ("PNG", {"compress_level": 1})],
)
def test_a_hundred_megapixels_fit_in_two_gibibytes(
    tmp_path: Path, form: str, options: dict[str, object]
) -> None:
    file = tmp_path / "large"
    Image.new("RGB", (12_500, 8_000), "teal").save(file, form, **options)
    command = [sys.executable, "-c", PEAK_OF_DECODING, str(file)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    rows, columns, channels, scale, peak = (float(word) for word in said.split())
    assert (rows, columns, channels) == (1311, 2048, 3)
    assert scale == 12_500 / 2048
    assert peak < 2 * 2**30, f"decoding took {peak / 2**20:.0f} MiB"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF"])
def test_decoding_twice_gives_the_same_photo(
    reader: PhotoReader, hopper: Path, picture: Image.Image, form: str
) -> None:
    content = encoded(picture, form)
    first = reader.decode(content, "first")
    reader.read(hopper)
    second = PhotoReader(
        max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, working_side=WORKING_SIDE
    ).decode(content, "second")
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.pixels, second.pixels)


# Refusals


def test_too_many_bytes_are_refused_unread(hopper: Path) -> None:
    size = hopper.stat().st_size
    small = PhotoReader(max_bytes=size - 1, max_pixels=MAX_PIXELS, working_side=WORKING_SIDE)
    for ask in (lambda: small.read(hopper), lambda: small.decode(hopper.read_bytes(), "bytes")):
        with pytest.raises(PhotoTooLarge, match=f"{size:,}.*{size - 1:,}.*GALLERY_MAX_PHOTO_BYTES"):
            ask()
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
def test_a_bomb_is_refused_by_its_header_alone(
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
def test_what_is_no_photo_is_refused(reader: PhotoReader, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    with pytest.raises(PhotoUndecodable, match=r"photo\.jpg.*JPEG or PNG"):
        reader.read(file)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_photo_cut_short_is_refused(
    reader: PhotoReader, picture: Image.Image, form: str, share: float
) -> None:
    content = encoded(picture, form)
    with pytest.raises(PhotoUndecodable, match="cut"):
        reader.decode(content[: int(len(content) * share)], "cut")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "GIF"])
def test_altered_bytes_give_a_photo_or_a_photo_error(
    reader: PhotoReader, picture: Image.Image, form: str
) -> None:
    content = encoded(picture.resize((64, 75)), form)
    random = np.random.default_rng(2)
    for _ in range(40):
        altered = bytearray(content)
        for place in random.integers(0, min(len(content), 600), 3):
            altered[place] = random.integers(256)
        try:
            photo = reader.decode(bytes(altered), "altered")
        except PhotoError:
            continue
        assert photo.pixels.ndim == 3 and photo.pixels.shape[2] == 3


def test_a_real_odd_file_gives_a_photo_or_a_photo_error(
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


def test_what_is_no_file_is_refused_at_once(reader: PhotoReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for path, said in (
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
        with pytest.raises(PhotoUnreadable, match=said):
            reader.read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_photo_without_permission_is_refused(reader: PhotoReader, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").touch(mode=0o000)
    with pytest.raises(PhotoUnreadable, match="Permission denied"):
        reader.read(tmp_path / "secret.jpg")


# Folders


def test_photos_are_found_in_a_tree(tmp_path: Path) -> None:
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
    found = [p.relative_to(tmp_path).as_posix() for p in photos_in(tmp_path)]
    assert sorted(found) == ["a.JPEG", "b.jpg", "c/deep/er/y.PNG", "c/z.heic"]
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
    found = [photo.name for photo in photos_in(inside)]
    assert found == ["a.jpg", "nowhere.jpg", "out.jpg"]  # the dangling one is reported when opened


def test_what_is_no_folder_has_no_photos(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for path in (tmp_path / "a.jpg", tmp_path / "missing", Path("n\0ul")):
        with pytest.raises(PhotoUnreadable, match="is not a folder"):
            photos_in(path)


# Scans of a JPEG


def _with_scans(content: bytes, count: int) -> bytes:
    """The progressive JPEG with its last scan (which refines what is there) so often again."""
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def test_a_jpeg_of_a_thousand_scans_is_refused_undecoded(
    reader: PhotoReader, picture: Image.Image
) -> None:
    honest = encoded(picture, "JPEG", progressive=True)
    assert reader.decode(honest, "honest").width == 256
    with pytest.raises(PhotoUndecodable, match="more than 100 scans"):
        reader.decode(_with_scans(honest, 1_000), "hostile")
    empty = b"\xff\xfe\x00\x02" * 20_000  # comments without a word
    with pytest.raises(PhotoUndecodable, match="10,000 segments"):
        reader.decode(honest[:2] + empty + honest[2:], "hostile")


def test_what_follows_or_lies_within_a_jpeg_is_not_taken_for_its_scans(
    reader: PhotoReader, picture: Image.Image
) -> None:
    honest = encoded(picture, "JPEG", progressive=True)
    scans = b"\xff\xda\x00\x02" * 200
    comment = b"\xff\xfe" + (len(scans) + 2).to_bytes(2, "big") + scans
    for content in (honest + scans, honest[:2] + comment + honest[2:]):
        assert reader.decode(content, "with a video, or a thumbnail").width == 256
