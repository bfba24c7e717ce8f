"""Faces of large photos, of photos on their side, and of badly lit ones."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.encoders.weights import DLIB_MMOD
from gallery.errors import NoFaceFound
from gallery.types import Face, Float32, Photo, Several, UInt8
from gallery.vision import max_margin
from gallery.vision.crops import picture_to_keep
from gallery.vision.detection import VIEWS, FaceDetector, align
from gallery.vision.max_margin import MaxMarginDetector
from gallery.vision.pipeline import FacePipeline
from tests.machines import on_cpu
from tests.vision.images import encoded, photo_reader


def png(pixels: UInt8 | Image.Image) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    return encoded(image, "PNG", compress_level=1)


def only(pipeline: FacePipeline, content: bytes) -> tuple[Face, Float32]:
    photo = pipeline.open(content)
    (face,) = pipeline.faces(photo)
    vector: Float32 = pipeline.encode(photo, [face], 2).vectors[0]
    return face, vector


@pytest.fixture(scope="module")
def portrait(collins: Path) -> Image.Image:
    """Collins, her face about 60 pixels wide."""
    return Image.open(collins).convert("RGB").resize((300, 300), Image.Resampling.LANCZOS)


# Large photos


@pytest.mark.parametrize(
    ("size", "places"),
    [
        ((6000, 4000), [(0, 0), (5700, 3700), (2900, 1850)]),
        ((16000, 1200), [(7900, 400), (100, 900)]),
        ((2600, 6000), [(1100, 60)]),
    ],
)
def test_small_faces_of_a_large_photo_are_found(
    pipeline: FacePipeline,
    portrait: Image.Image,
    size: tuple[int, int],
    places: list[tuple[int, int]],
) -> None:
    expected, vector = only(pipeline, png(portrait))
    assert 40 <= expected.box.side < 40 * max(size) / 2048
    canvas = Image.new("RGB", size, (120, 130, 140))
    for place in places:
        canvas.paste(portrait, place)
    photo = pipeline.open(png(canvas))
    faces = pipeline.faces(photo)
    assert len(faces) == len(places)
    encodings = pipeline.encode(photo, faces, 2).vectors
    assert (encodings @ vector > 0.97).all()  # from the full photo's pixels
    for place in places:
        centre = np.add(expected.box.centre, place)
        nearest = min(faces, key=lambda f: np.abs(np.subtract(f.box.centre, centre)).max())
        assert np.abs(np.subtract(nearest.box.centre, centre)).max() < 8
        np.testing.assert_allclose(nearest.landmarks, expected.landmarks + place, atol=6)


def test_large_and_small_faces_are_found_once_each(
    pipeline: FacePipeline, portrait: Image.Image
) -> None:
    canvas = Image.new("RGB", (6000, 4000), (120, 130, 140))
    canvas.paste(portrait, (4800, 700))
    canvas.paste(portrait.resize((1800, 1800)), (200, 200))
    large, small = pipeline.faces(pipeline.open(png(canvas)))
    assert large.box.side > 5 * small.box.side
    assert large.box.right < 2000 < 4800 < small.box.left


def test_face_below_the_limit_is_not_found_in_a_large_photo(
    pipeline: FacePipeline, portrait: Image.Image
) -> None:
    canvas = Image.new("RGB", (4000, 3000), (120, 130, 140))
    canvas.paste(portrait.resize((150, 150)), (1900, 1400))
    photo = pipeline.open(png(canvas))
    with pytest.raises(NoFaceFound, match=r"at least 40 pixels .*200 pixels; .*crop the photo"):
        pipeline.one_face(photo, Several.REFUSE)


def test_kept_chip_of_a_small_face_gives_the_same_encoding(
    pipeline: FacePipeline, portrait: Image.Image
) -> None:
    canvas = Image.new("RGB", (6000, 4000), (120, 130, 140))
    canvas.paste(portrait, (3000, 2000))
    photo = pipeline.open(png(canvas))
    (face,) = pipeline.faces(photo)
    kept = picture_to_keep("chips", photo, face, b"", 1)
    assert kept is not None
    chips = [
        align(source, landmarks, VIEWS[:1])
        for source, landmarks in (
            (photo, face.landmarks),
            (pipeline.open(kept.content), kept.landmarks),
        )
    ]
    np.testing.assert_array_equal(*chips)


# Photos on their side


@pytest.mark.parametrize("degrees", [90, 180, 270, 60, -60])
def test_face_of_a_turned_photo_is_found_where_it_is(
    pipeline: FacePipeline, collins: Path, degrees: int
) -> None:
    upright = Image.open(collins).convert("RGB")
    expected, vector = only(pipeline, png(upright))
    turned = upright.rotate(degrees, Image.Resampling.BICUBIC)
    face, turned_vector = only(pipeline, png(turned))
    assert turned_vector @ vector > 0.9  # so it was aligned upright
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre = (np.array(upright.size) - 1) / 2
    landmarks = (expected.landmarks - centre) @ matrix.T + centre
    np.testing.assert_allclose(face.landmarks, landmarks, atol=0.12 * expected.box.side)
    box = matrix @ (np.array(expected.box.centre) - centre) + centre
    assert np.abs(box - face.box.centre).max() < 0.2 * expected.box.side


def test_turned_large_photo(pipeline: FacePipeline, collins: Path) -> None:
    upright = Image.open(collins).convert("RGB").resize((3000, 3000), Image.Resampling.BICUBIC)
    expected, vector = only(pipeline, png(upright))
    face, turned_vector = only(pipeline, png(upright.transpose(Image.Transpose.ROTATE_90)))
    assert turned_vector @ vector > 0.9
    landmarks = np.column_stack([expected.landmarks[:, 1], 2999 - expected.landmarks[:, 0]])
    np.testing.assert_allclose(face.landmarks, landmarks, atol=0.12 * expected.box.side)


# Light


def lit_from(photo: Photo, face: Face, side: str, midpoint: float) -> tuple[bytes, Float32]:
    """The face alone, with the light at a twentieth up to the midpoint; its landmarks there."""
    box = [round(v) for v in face.box.as_list()]
    pixels = photo.pixels[box[1] : box[3], box[0] : box[2]].astype(float)
    across = np.linspace(0, 1, pixels.shape[1])
    across = across if side == "left" else 1 - across
    light = 0.05 + 0.95 / (1 + np.exp(-25 * (across - midpoint)))
    dark = np.rint(pixels * light[None, :, None]).astype(np.uint8)
    return png(dark), face.landmarks - np.float32(box[:2])


@pytest.mark.parametrize("side", ["left", "right"])
def test_face_lit_from_one_side_is_found(pipeline: FacePipeline, hopper: Path, side: str) -> None:
    photo = pipeline.open(hopper)
    (face,) = pipeline.faces(photo)
    dark, expected = lit_from(photo, face, side, 0.6)
    found, _ = only(pipeline, dark)
    np.testing.assert_allclose(found.landmarks, expected, atol=0.2 * face.box.side)


# The second detector


def detector(cache: Path) -> FaceDetector:
    return FaceDetector(min_face=40, min_probability=0.99, machine=on_cpu(cache))


@pytest.fixture(scope="module")
def without_weights(cache: Path) -> FaceDetector:
    """A detector as it is where the second detector's file is not installed."""
    mtcnn_alone = detector(cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(max_margin, "DLIB_MMOD", replace(DLIB_MMOD, path="models/no_such_file.dat"))
        empty = Image.new("RGB", (100, 100))
        assert mtcnn_alone.find(photo_reader().decode(png(empty), source="empty")) == []
    return mtcnn_alone


@pytest.mark.parametrize(
    ("person", "side", "midpoint"),
    [
        ("hopper", "left", 0.5),
        ("hopper", "right", 0.7),
        ("collins", "left", 0.7),
        ("collins", "right", 0.8),
    ],
)
def test_face_that_mtcnn_misses_is_found(
    pipeline: FacePipeline,
    without_weights: FaceDetector,
    person: str,
    side: str,
    midpoint: float,
    request: pytest.FixtureRequest,
) -> None:
    photo = pipeline.open(request.getfixturevalue(person))
    (face,) = pipeline.faces(photo)
    content, expected = lit_from(photo, face, side, midpoint)
    dark = pipeline.open(content)
    assert without_weights.find(dark) == []
    (found,) = pipeline.faces(dark)
    np.testing.assert_allclose(found.landmarks, expected, atol=0.1 * face.box.side)
    assert found.probability >= 0.99
    assert 0.7 * face.box.side < found.box.side < 1.2 * face.box.side


def test_few_levels_are_searched_where_nothing_promises_a_face(
    cache: Path, pipeline: FacePipeline, hopper: Path, no_one: list[Path]
) -> None:
    reader, first = photo_reader(), detector(cache)
    second = first._max_margin
    assert isinstance(second, MaxMarginDetector)
    sizes, scores = [], second._scores

    def noting(level: Float32) -> list[Float32]:
        sizes.append(level.shape[2:])
        return scores(level)

    second._scores = noting
    for path in no_one:
        sizes.clear()
        assert first.find(reader.decode(path.read_bytes(), source=path.name)) == []
        assert len(set(sizes)) == len(sizes) > 2  # of one picture
        ratios = [larger[0] / smaller[0] for larger, smaller in pairwise(sizes)]
        assert min(ratios) > 1.4  # every second level of a pyramid by 5/6
    photo = pipeline.open(hopper)
    content, _ = lit_from(photo, pipeline.faces(photo)[0], "left", 0.5)
    sizes.clear()
    assert len(first.find(reader.decode(content, source="dark"))) == 1
    assert len(sizes) > 2 * len(set(sizes))  # both pictures, all levels


def test_small_face_of_a_photo_in_poor_light_is_searched_in_the_shrunk_one(
    pipeline: FacePipeline, no_one: list[Path]
) -> None:
    with Image.open(no_one[0]) as image:
        photo = pipeline.open(png(image.convert("RGB").resize((1536, 1100))))
    assert photo.scale == 1.0
    assert "at least 40 pixels (on its side or in poor light: 77 pixels" in pipeline.no_face(photo)


def test_landmarks_are_those_of_the_file_in_a_large_dark_photo(
    pipeline: FacePipeline, collins: Path
) -> None:
    photo = pipeline.open(collins)
    (face,) = pipeline.faces(photo)
    content, expected = lit_from(photo, face, "left", 0.7)
    small = Image.open(io.BytesIO(content))
    factor = 25
    large = small.resize((small.width * factor, small.height * factor), Image.Resampling.BICUBIC)
    dark = pipeline.open(png(large))
    assert dark.scale > 1
    (found,) = pipeline.faces(dark)
    np.testing.assert_allclose(
        found.landmarks, factor * expected, atol=0.1 * factor * face.box.side
    )


def test_second_detector_is_loaded_for_the_first_photo_that_needs_it(
    cache: Path, hopper: Path, no_one: list[Path]
) -> None:
    reader, first = photo_reader(), detector(cache)

    def find(path: Path) -> list[Face]:
        return first.find(reader.decode(path.read_bytes(), source=path.name))

    assert len(find(hopper)) == 1
    assert "_max_margin" not in vars(first)
    assert [find(path) for path in no_one] == [[], [], []]
    assert isinstance(vars(first)["_max_margin"], MaxMarginDetector)
    assert not first.is_incomplete


def test_without_its_weights_a_photo_is_searched_and_the_answer_says_so(
    pipeline: FacePipeline, without_weights: FaceDetector, hopper: Path, no_one: list[Path]
) -> None:
    incomplete = FacePipeline(
        pipeline.reader, without_weights, pipeline.encoder, max_faces=10, views=pipeline.views
    )
    assert len(incomplete.faces(incomplete.open(hopper))) == 1
    with pytest.raises(NoFaceFound, match="second detector's weights are unusable: see `g"):
        incomplete.one_face(incomplete.open(no_one[0]), Several.REFUSE)
    with pytest.raises(NoFaceFound) as complete:
        pipeline.one_face(pipeline.open(no_one[0]), Several.REFUSE)
    assert "second detector" not in str(complete.value)


def test_second_detector_takes_bounded_memory_and_skips_tiny_pictures(cache: Path) -> None:
    ours = MaxMarginDetector(on_cpu(cache))
    noise = np.random.default_rng(1).integers(0, 256, (3000, 6000, 3), dtype=np.uint8)
    sizes, scores = [], ours._scores

    def noting(level: Float32) -> list[Float32]:
        sizes.append(level.shape[2:])
        return scores(level)

    ours._scores = noting
    assert ours.squares(noise, 40).shape == (0, 4)
    assert max(max(size) for size in sizes) == 960
    assert ours.squares(noise[:10, :400], 40).shape == (0, 4)
