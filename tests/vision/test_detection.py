"""Detection, alignment and encoding of real faces, in every orientation, and repeatably."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.encoders.encoder import fuse
from gallery.encoders.template import DLIB_150, fit_similarity
from gallery.errors import InvalidEncoding
from gallery.types import DIMENSION, Face, Float32, Photo, UInt8
from gallery.vision.detection import VIEWS, FaceDetector, View, align
from gallery.vision.photo import PhotoReader
from gallery.vision.pipeline import FacePipeline
from tests.machines import on_cpu

ORIENTATION = 0x0112
PEOPLE = ("hopper", "collins")
TEMPLATE = np.array(DLIB_150.points)


@pytest.fixture(scope="module", params=PEOPLE)
def person(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def as_png(pixels: UInt8 | Image.Image, orientation: int = 1) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = io.BytesIO()
    image.save(content, "PNG", exif=exif)
    return content.getvalue()


def only_face(pipeline: FacePipeline, source: Path | bytes) -> tuple[Photo, Face]:
    photo = pipeline.open(source)
    (face,) = pipeline.faces(photo)
    return photo, face


def encoding(pipeline: FacePipeline, source: Path | bytes, views: int = 2) -> Float32:
    photo, face = only_face(pipeline, source)
    vector: Float32 = pipeline.encode(photo, [face], views).vectors[0]
    return vector


def corners(face: Face) -> list[float]:
    return [face.box.left, face.box.top, face.box.right, face.box.bottom]


# Detection


def test_landmarks_lie_in_the_box_in_order(pipeline: FacePipeline, person: Path) -> None:
    photo, face = only_face(pipeline, person)
    assert face.probability > 0.99 and face.sharpness > 0.0
    assert 0 <= face.box.left < face.box.right <= photo.width
    assert 0 <= face.box.top < face.box.bottom <= photo.height
    assert 40 <= face.box.side < photo.width / 2
    assert face.landmarks.dtype == np.float32 and face.landmarks.shape == (5, 2)
    assert (face.landmarks > (face.box.left, face.box.top)).all()
    assert (face.landmarks < (face.box.right, face.box.bottom)).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_photo_without_people_has_no_face(pipeline: FacePipeline, no_one: list[Path]) -> None:
    for path in no_one:
        photo = pipeline.open(path)
        assert pipeline.faces(photo) == []
        assert pipeline.encode(photo, [], 2).vectors.shape == (0, DIMENSION)


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (11, 400), (400, 11), (39, 39), (1, 2048)])
def test_tiny_photo_has_no_face(pipeline: FacePipeline, size: tuple[int, int]) -> None:
    assert pipeline.faces(pipeline.open(as_png(Image.new("RGB", size, "tan")))) == []


@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_plain_or_noisy_image_has_no_face(pipeline: FacePipeline, kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    content = as_png(noise if kind == "noise" else Image.new("RGB", (300, 200), kind))
    assert pipeline.faces(pipeline.open(content)) == []


def test_mirrored_photo_has_a_mirrored_face(pipeline: FacePipeline, person: Path) -> None:
    photo, face = only_face(pipeline, person)
    _, mirrored = only_face(pipeline, as_png(photo.pixels[:, ::-1]))
    expected = [photo.width - face.box.right, face.box.top]
    expected += [photo.width - face.box.left, face.box.bottom]
    # The detector is not exactly symmetric, but its landmarks are nearly so.
    assert corners(mirrored) == pytest.approx(expected, abs=0.12 * face.box.side)
    eyes = np.array([photo.width, 0]) + face.landmarks[[1, 0]] * (-1, 1)
    np.testing.assert_allclose(mirrored.landmarks[:2], eyes, atol=0.04 * face.box.side)
    left_eye, right_eye = mirrored.landmarks[:2]
    assert left_eye[0] < right_eye[0]  # as the viewer sees them, in a mirrored photo too


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_rotation_does_not_change_the_encoding(
    pipeline: FacePipeline, person: Path, orientation: int
) -> None:
    photo = pipeline.open(person)
    turns = {3: 2, 6: 1, 8: -1}[orientation]
    turned = as_png(np.ascontiguousarray(np.rot90(photo.pixels, turns)), orientation)
    assert encoding(pipeline, turned) @ encoding(pipeline, person) > 0.999


@pytest.mark.parametrize("enlarged", [1, 6])
@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_face_that_fills_the_frame_is_detected(
    pipeline: FacePipeline, person: Path, margin: float, enlarged: int
) -> None:
    photo, face = only_face(pipeline, person)
    left, top = (round(v - margin * face.box.side) for v in (face.box.left, face.box.top))
    right, bottom = (round(v + margin * face.box.side) for v in (face.box.right, face.box.bottom))
    crop = Image.fromarray(photo.pixels[top:bottom, left:right])
    size = crop.width * enlarged, crop.height * enlarged
    _, cropped = only_face(pipeline, as_png(crop.resize(size, Image.Resampling.BICUBIC)))
    moved = np.array(corners(cropped)) / enlarged + (left, top, left, top)
    np.testing.assert_allclose(moved, corners(face), atol=0.3 * face.box.side)
    moved = cropped.landmarks / enlarged + (left, top)
    np.testing.assert_allclose(moved, face.landmarks, atol=0.2 * face.box.side)


def test_boxes_are_in_pixels_of_the_file_when_the_photo_is_shrunk(
    pipeline: FacePipeline, person: Path
) -> None:
    photo, face = only_face(pipeline, person)
    factor = 4
    size = (photo.width * factor, photo.height * factor)
    content = as_png(Image.fromarray(photo.pixels).resize(size, Image.Resampling.BICUBIC))
    large, enlarged = only_face(pipeline, content)
    assert (large.width, large.height) == size and max(large.pixels.shape) == 2048
    expected = factor * np.array(corners(face))
    np.testing.assert_allclose(corners(enlarged), expected, atol=0.1 * factor * face.box.side)
    expected = factor * face.landmarks
    np.testing.assert_allclose(enlarged.landmarks, expected, atol=0.04 * factor * face.box.side)
    assert encoding(pipeline, content) @ encoding(pipeline, person) > 0.97


def test_faces_are_sorted_largest_first(
    pipeline: FacePipeline, hopper: Path, collins: Path
) -> None:
    small = Image.open(collins).convert("RGB").resize((300, 300))
    both = Image.new("RGB", (900, 600), "grey")
    both.paste(small, (0, 0))
    both.paste(Image.open(hopper).convert("RGB"), (350, 0))
    faces = pipeline.faces(pipeline.open(as_png(both)))
    assert len(faces) == 2
    assert faces[0].box.left > 350 > faces[1].box.right
    assert faces[0].box.side > faces[1].box.side


def test_faces_below_the_limits_are_left_out(person: Path, cache: Path) -> None:
    photo = PhotoReader(max_bytes=2**24, max_pixels=2**24, working_side=2048).read(person)
    cpu = on_cpu(cache)
    (face,) = FaceDetector(min_face=40, min_probability=0.99, machine=cpu).find(photo)
    larger = int(1.3 * face.box.side)
    assert FaceDetector(min_face=larger, min_probability=0.99, machine=cpu).find(photo) == []
    certain = FaceDetector(min_face=40, min_probability=1.0, machine=cpu).find(photo)
    assert all(face.probability == 1.0 for face in certain)


def test_group_photo_has_several_faces(pipeline: FacePipeline, shared_faces: Path) -> None:
    photo = pipeline.open(shared_faces / "groups" / "bald_guys.jpg")
    faces = pipeline.faces(photo)
    assert len(faces) >= 2
    sides = [face.box.side for face in faces]
    assert sides == sorted(sides, reverse=True)


# Repeatability


def test_same_photo_gives_identical_results(pipeline: FacePipeline, person: Path) -> None:
    (photo, face), (photo_again, again) = only_face(pipeline, person), only_face(pipeline, person)
    assert face.box == again.box and face.probability == again.probability
    assert face.landmarks.tobytes() == again.landmarks.tobytes()
    first, second = pipeline.encode(photo, [face], 3), pipeline.encode(photo_again, [again], 3)
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert first.norms.tobytes() == second.norms.tobytes()


def test_earlier_photos_do_not_change_the_result(
    pipeline: FacePipeline, hopper: Path, collins: Path, no_one: list[Path]
) -> None:
    alone = only_face(pipeline, hopper)[1]
    for other in (collins, *no_one, collins):
        pipeline.faces(pipeline.open(other))
        again = only_face(pipeline, hopper)[1]
        assert again.box == alone.box and again.sharpness == alone.sharpness
        assert again.landmarks.tobytes() == alone.landmarks.tobytes()


def test_path_and_bytes_give_the_same_photo(pipeline: FacePipeline, person: Path) -> None:
    by_path, by_bytes = pipeline.open(person), pipeline.open(person.read_bytes())
    assert by_path.sha256 == by_bytes.sha256
    np.testing.assert_array_equal(by_path.pixels, by_bytes.pixels)


def test_same_person_is_more_similar_than_another(
    pipeline: FacePipeline, hopper: Path, collins: Path
) -> None:
    mirrored = as_png(pipeline.open(hopper).pixels[:, ::-1])
    same = encoding(pipeline, hopper, views=1) @ encoding(pipeline, mirrored, views=1)
    other = encoding(pipeline, hopper) @ encoding(pipeline, collins)
    assert same > 0.97 > 0.90 > other


# Alignment


@pytest.mark.parametrize("scale", [0.2, 1.0, 7.5])
@pytest.mark.parametrize("degrees", [0, 30, 90, 180, -45])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (300.0, -40.0)])
def test_similarity_is_recovered_from_its_points(
    scale: float, degrees: int, shift: tuple[float, float]
) -> None:
    turn = np.radians(degrees)
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    expected = np.array([[a, -b, shift[0]], [b, a, shift[1]]])
    moved = TEMPLATE @ expected[:, :2].T + expected[:, 2]
    np.testing.assert_allclose(fit_similarity(TEMPLATE, moved), expected, atol=1e-9)


def test_similarity_minimises_the_weighted_error() -> None:
    random = np.random.default_rng(2)
    target = 3.0 * TEMPLATE + random.normal(0, 4, (5, 2)) + 50.0
    weights = np.array(DLIB_150.weights)

    def loss(matrix: np.ndarray) -> float:
        left = TEMPLATE @ matrix[:, :2].T + matrix[:, 2] - target
        return float((weights * (left**2).sum(1)).sum())

    best = fit_similarity(TEMPLATE, target, DLIB_150.weights)
    for _ in range(200):
        a, b, x, y = random.normal(0, (0.01, 0.01, 0.5, 0.5))
        other = best + np.array([[a, -b, x], [b, a, y]])
        assert loss(best) < loss(other)


def dots(points: np.ndarray, side: int, radius: float) -> Photo:
    """A black photo with a white Gaussian dot at each point, in pixel centres."""
    rows, columns = np.indices((side, side))
    light = np.zeros((side, side))
    for x, y in points:
        light += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    grey = np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)
    return Photo(np.repeat(grey[..., None], 3, axis=2), 1.0, side, side, "0" * 64, "dots")


def brightest(chip: UInt8, expected: np.ndarray, reach: int = 8) -> np.ndarray:
    """The centre of the light around a point of the chip."""
    grey = chip[..., 0].astype(float)
    rows, columns = np.indices(grey.shape)
    inside = (np.abs(columns - expected[0]) <= reach) & (np.abs(rows - expected[1]) <= reach)
    light = np.where(inside, grey, 0.0)
    return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


@pytest.mark.parametrize(("scale", "degrees"), [(0.6, 0), (1.0, 0), (1.7, 20), (4.3, -35), (6, 90)])
def test_landmarks_are_aligned_to_the_template(scale: float, degrees: int) -> None:
    turn = np.radians(degrees)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    side = round(170 * scale) + 120
    points = (TEMPLATE - 75.0) @ rotation.T + side / 2
    photo = dots(points, side, radius=max(1.0, 1.5 * scale))
    chip = align(photo, points.astype(np.float32), VIEWS[:1])[0]
    for point in TEMPLATE:
        assert brightest(chip, point) == pytest.approx(point, abs=0.15)


def test_align_takes_landmarks_in_pixels_of_the_file() -> None:
    points = TEMPLATE + 60.0
    photo = dots(points, 300, radius=1.5)
    shrunk = Photo(photo.pixels, 4.0, 1200, 1200, photo.sha256, photo.source)
    plain = align(photo, points.astype(np.float32), VIEWS)
    np.testing.assert_array_equal(plain, align(shrunk, (4 * points).astype(np.float32), VIEWS))


def test_views_are_mirrored_shifted_and_zoomed() -> None:
    points = TEMPLATE + 60.0
    photo = dots(points, 300, radius=1.5)
    landmarks = points.astype(np.float32)
    plain = align(photo, landmarks, [View()])[0]
    mirrored, moved, larger = align(
        photo, landmarks, [View(mirrored=True), View(right=3.0, down=-2.0), View(zoom=1.06)]
    )
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    centre = np.array([74.5, 74.5])
    for point in TEMPLATE:
        assert brightest(moved, point + (3, -2)) == pytest.approx(point + (3, -2), abs=0.15)
        expected = centre + 1.06 * (point - centre)
        assert brightest(larger, expected) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_face_beyond_the_photo_has_a_black_chip(scale: float) -> None:
    white = np.full((200, 200, 3), 255, np.uint8)
    photo = Photo(white, 1.0, 200, 200, "0" * 64, "white")
    chips = align(photo, (scale * TEMPLATE + 3_000).astype(np.float32), VIEWS)
    assert (chips == 0).all()


@pytest.mark.parametrize("shift", [(-120.0, 0.0), (0.0, 500.0), (5000.0, 5000.0)])
def test_chip_is_black_outside_the_photo(shift: tuple[float, float]) -> None:
    white = np.full((200, 200, 3), 255, np.uint8)
    photo = Photo(white, 1.0, 200, 200, "0" * 64, "white")
    chips = align(photo, (TEMPLATE + shift).astype(np.float32), VIEWS)
    assert chips.shape == (len(VIEWS), 150, 150, 3) and chips.dtype == np.uint8
    if shift[0] < 0:
        chip = chips[0]
        assert (chip[:, :118] == 0).all() and (chip[:, 122:] == 255).all()
    else:
        assert (chips == 0).all()


# Encoding


@pytest.mark.parametrize("views", [1, 2, 10])
def test_encodings_have_unit_length(pipeline: FacePipeline, person: Path, views: int) -> None:
    photo, face = only_face(pipeline, person)
    encodings = pipeline.encode(photo, [face, face], views)
    assert len(encodings) == 2
    assert encodings.vectors.shape == (2, DIMENSION) and encodings.norms.shape == (2,)
    assert encodings.vectors.dtype == encodings.norms.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(encodings.vectors, axis=1), 1.0, atol=1e-6)
    assert (encodings.norms > 1.0).all() and (encodings.norms < 2.0).all()
    assert encodings.vectors[0].tobytes() == encodings.vectors[1].tobytes()


def test_no_chips_give_no_encodings(pipeline: FacePipeline) -> None:
    assert pipeline.encoder.raw(np.empty((0, 150, 150, 3), np.uint8)).shape == (0, DIMENSION)


@pytest.mark.parametrize(
    "shape",
    [(150, 150, 3), (1, 149, 150, 3), (1, 150, 150, 4), (1, 3, 150, 150), (1, 1, 150, 150, 3)],
)
def test_chips_of_wrong_shape_are_refused(pipeline: FacePipeline, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidEncoding, match="150"):
        pipeline.encoder.raw(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "shape", [(2, 150, 150, 3), (1, 0, 150, 150, 3), (1, 2, 150, 149, 3), (1, 2, 150, 150)]
)
def test_views_of_wrong_shape_are_refused(pipeline: FacePipeline, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidEncoding, match="150"):
        pipeline.encoder.encode(np.zeros(shape, np.uint8))


def _raw(seed: int) -> Float32:
    return np.random.default_rng(seed).normal(size=(3, 2, DIMENSION)).astype(np.float32)


def test_fuse_averages_directions() -> None:
    raw = _raw(3)
    fused = fuse(raw)
    directions = raw / np.linalg.norm(raw, axis=2, keepdims=True)
    mean = directions.mean(axis=1)
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(fused.vectors, expected, atol=1e-6)
    np.testing.assert_allclose(fused.norms, np.linalg.norm(raw, axis=2).mean(axis=1), rtol=1e-6)
    louder = raw * np.array([1.0, 50.0], np.float32)[:, None]
    np.testing.assert_allclose(fuse(louder).vectors, expected, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_encoding_is_refused(value: float) -> None:
    raw = _raw(4)
    raw[1, 0, 5] = value
    with pytest.raises(InvalidEncoding, match="finite"):
        fuse(raw)


def test_encoding_of_length_zero_is_refused() -> None:
    zero, opposite = _raw(5), _raw(6)
    zero[2, 1] = 0.0
    opposite[0, 1] = -opposite[0, 0]
    for raw in (zero, opposite):
        with pytest.raises(InvalidEncoding, match="length zero"):
            fuse(raw)
