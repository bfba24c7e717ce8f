"""Arrays, PIL images, open files, bytes and paths are photos; all else is one typed sentence."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from gallery.errors import (
    GalleryError,
    PhotoTooLarge,
    PhotoUndecodable,
    PhotoUnreadable,
    SettingInvalid,
)
from gallery.gallery import Gallery
from gallery.types import Several
from gallery.vision.photo import PhotoReader
from gallery.vision.photo_source import PhotoInMemory, content_in_memory, source_name


@pytest.fixture
def reader() -> PhotoReader:
    return PhotoReader(max_bytes=2**21, max_pixels=2**20, working_side=2048)


def test_every_kind_of_photo_gets_the_same_answer(
    gallery: Gallery, hopper: Path, tmp_path: Path
) -> None:
    with Image.open(hopper) as image:
        pixels = np.asarray(image)
    gallery.enroll("Grace", pixels)
    with hopper.open("rb") as opened, Image.open(hopper) as image:
        photos = [pixels, image, opened, opened, str(hopper), hopper, hopper.read_bytes()]
        decisions = [gallery.query(photo) for photo in photos]
        assert {decision.outcome.value for decision in decisions} == {"match"}
        boxes = {tuple(decision.face.box.as_list()) for decision in decisions if decision.face}
        assert len(boxes) == 1
        assert gallery.query_all(image)[0].outcome == "match"
        assert gallery.compare(image, pixels).same == 1
    assert gallery.enroll("Grace", pixels.copy()).outcome == "already"
    (face,) = gallery.faces()
    ppm = tmp_path / "grace.ppm"
    Image.fromarray(pixels).save(ppm)
    assert (
        face.photo == "(array)"
        and face.photo_sha256 == hashlib.sha256(ppm.read_bytes()).hexdigest()
    )
    assert gallery.enroll("Grace", ppm).outcome == "already"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "HSV"])
def test_images_of_every_mode_have_their_pixels(
    reader: PhotoReader, hopper: Path, tmp_path: Path, mode: str
) -> None:
    with Image.open(hopper) as photo:
        image = photo.convert("L").convert(mode) if mode == "I;16" else photo.convert(mode)
    expected = np.asarray(
        image.convert("RGBA").convert("RGB")
        if mode != "I;16"
        else photo.convert("L").convert("RGB")
    )
    found = reader.decode(content_in_memory(image), source="image").pixels
    if mode not in ("I;16", "F"):
        np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape


def test_image_is_turned_upright_and_dated_by_its_exif_data(
    reader: PhotoReader, hopper: Path
) -> None:
    with Image.open(hopper) as upright:
        turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1984:01:02 03:04:05"
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    photo = reader.decode(content_in_memory(Image.open(file)), source="image")
    np.testing.assert_array_equal(photo.pixels, np.asarray(upright.convert("RGB")))
    assert photo.taken == "1984-01-02"


def test_open_file_is_read_from_where_it_stands_and_left_there(hopper: Path) -> None:
    file = io.BytesIO(b"head" + hopper.read_bytes())
    file.seek(4)
    assert content_in_memory(file) == hopper.read_bytes() and file.tell() == 4
    assert source_name(file) == "(file)"
    with hopper.open("rb") as opened:
        assert source_name(opened) == str(hopper)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda _: np.zeros((600, 512), np.uint8), PhotoUndecodable, r"shape \(600, 512\)"),
        (lambda _: np.zeros((9, 9, 3), np.float32), PhotoUndecodable, "type float32"),
        (lambda _: np.zeros((9, 9, 4), np.uint8), PhotoUndecodable, r"\(9, 9, 4\)"),
        (lambda _: np.zeros((0, 9, 3), np.uint8), PhotoUndecodable, r"\(0, 9, 3\)"),
        (lambda _: np.array([["a"]], object), PhotoUndecodable, "type object"),
        (lambda _: 7, PhotoUnreadable, "int is not a kind of photo; give a path"),
        (lambda _: None, PhotoUnreadable, "NoneType is not a kind of photo"),
        (lambda _: [[1, 2]], PhotoUnreadable, "list is not a kind of photo"),
        (lambda path: path.open(encoding="latin-1"), PhotoUnreadable, "mode 'rb'"),
        (lambda path: path.open(encoding="utf-8"), PhotoUnreadable, "mode 'rb'"),
        (lambda _: io.BytesIO(), PhotoUndecodable, "empty"),
        (lambda _: io.BytesIO(bytes(2**21 + 1)), PhotoTooLarge, "limit of 2,097,152"),
        (lambda _: Image.new("L", (2**11, 2**10)), PhotoTooLarge, "2048 x 1024"),
    ],
)  # fmt: skip
def test_all_else_is_one_typed_sentence(
    gallery: Gallery,
    hopper: Path,
    make: Callable[[Path], PhotoInMemory],
    error: type[GalleryError],
    sentence: str,
) -> None:
    settings = gallery.settings.model_copy(
        update={"max_photo_bytes": 2**21, "max_photo_pixels": 2**20}
    )
    photo = make(hopper)
    with Gallery(settings) as limited:
        with pytest.raises(error, match=sentence) as raised:
            limited.query(photo)
        assert len(str(raised.value)) < 250 and "[[" not in str(raised.value)
        assert limited.enroll("Grace", photo).outcome == "error"
    if hasattr(photo, "close"):
        photo.close()


def test_rule_for_several_faces_is_accepted_by_its_value(gallery: Gallery, hopper: Path) -> None:
    assert gallery.enroll("Grace", hopper, several="central").outcome == "enrolled"
    assert gallery.query(hopper, several="largest").outcome == "match"
    assert gallery.compare(hopper, hopper, several=Several.LARGEST).same == 1
    for wrong in ("biggest", None, np.zeros(3)):
        with pytest.raises(SettingInvalid, match="expected 'refuse' or 'largest' or 'central'"):
            gallery.query(hopper, several=wrong)  # type: ignore[arg-type]


def test_decoding_in_threads_leaves_the_warning_filters_alone(tmp_path: Path) -> None:
    script = """
import sys, threading, warnings
from PIL import Image
from gallery.vision.photo import PhotoReader
reader = PhotoReader(max_bytes=2**20, max_pixels=2**20, working_side=256)
Image.MAX_IMAGE_PIXELS = 100  # so that Pillow warns
before = list(warnings.filters)
changed = []
def watch():
    while not done.is_set():
        changed.extend([1] if list(warnings.filters) != before else [])
def decode():
    for _ in range(20):
        reader.read(sys.argv[1])
done = threading.Event()
watcher = threading.Thread(target=watch)
workers = [threading.Thread(target=decode) for _ in range(4)]
watcher.start()
[w.start() for w in workers]; [w.join() for w in workers]
done.set(); watcher.join()
print(len(changed))
"""
    photo = tmp_path / "a.png"
    Image.new("RGB", (12, 12)).save(photo)
    ran = subprocess.run(
        [sys.executable, "-c", script, photo], capture_output=True, text=True, check=True
    )
    assert (ran.stdout, ran.stderr) == ("0\n", "")
