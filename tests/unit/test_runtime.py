"""An open gallery follows a change of encoder and head, and never answers with parts of two."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gallery.encoders.encoder import encoder_sha256
from gallery.encoders.onnx import OnnxNetwork
from gallery.encoders.projection import Projection
from gallery.encoders.registry import read_spec
from gallery.errors import EncoderChanged, HeadUnusable
from gallery.gallery import Gallery
from gallery.matching.head import Head
from gallery.matching.head_files import find_head, home_stem
from gallery.matching.index import IndexCopy
from gallery.types import DIMENSION, Decision
from gallery.vision.pipeline import FacePipeline
from tests.models import head_for_dlib_in_onnx, made_model

SAME_PHOTO = 0.99
"""One encoder's similarity of a photo to itself, in more views and in fewer, is higher."""
HELD = 60.0
"""Seconds after which a test that waits has failed."""


class NoticedLock:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self, awaited: threading.Event) -> None:
        self._lock = threading.RLock()
        self._awaited = awaited

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._awaited.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class HeldGallery(Gallery):
    """While it is armed, whoever gives it another index waits until let go."""

    armed = False

    def arm(self) -> None:
        self.given, self.go = threading.Event(), threading.Event()
        self.armed = True

    @property
    def index(self) -> IndexCopy:
        return self._held

    @index.setter
    def index(self, index: IndexCopy) -> None:
        self._held = index
        if self.armed:
            self.armed = False
            self.given.set()
            assert self.go.wait(HELD)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return made_model(tmp_path / "small.onnx", 64)


@pytest.fixture
def home(tmp_path: Path, cache: Path, eye: FacePipeline, hopper: Path, model: Path) -> Path:
    """One person with the default encoder; there is a head for the model."""
    made = tmp_path / "home"
    with Gallery.open(made, cache=cache, threads=1) as gallery:
        gallery.__dict__["pipeline"] = eye
        assert gallery.enroll("Grace Hopper", hopper).outcome == "enrolled"
    head_for_dlib_in_onnx(model, made)
    return made


@pytest.fixture
def held(home: Path, cache: Path, eye: FacePipeline) -> Iterator[HeldGallery]:
    with HeldGallery.open(home, cache=cache, threads=1) as gallery:
        gallery.__dict__["pipeline"] = eye
        yield gallery


def switched(home: Path, cache: Path, model: Path, **settings: object) -> None:
    """As `re-encode` does it, in another process for all that the open gallery knows."""
    with Gallery.open(home, cache=cache, threads=1, **settings) as gallery:
        seeing = gallery.encoder_pipeline(read_spec(f"onnx:{model}"))
        work = gallery.reencoder(gallery.encoder_record(seeing))
        work.start()
        work.encode(lambda: seeing)
        assert work.switch(leave_missing=False)


def test_nobody_is_answered_with_the_old_eye_on_new_encodings(
    held: HeldGallery, home: Path, cache: Path, model: Path, hopper: Path
) -> None:
    assert held.query(hopper).outcome == "match"
    answers: dict[str, Decision] = {}
    moved = threading.Event()
    held._turn = NoticedLock(moved)  # type: ignore[assignment]
    switched(home, cache, model)

    def ask(name: str) -> None:
        answers[name] = held.query(hopper)
        moved.set()

    held.arm()
    first = threading.Thread(target=ask, args=("first",))
    first.start()
    assert held.given.wait(HELD)  # it has the new index, and nothing else is done yet
    second = threading.Thread(target=ask, args=("second",))
    second.start()
    assert moved.wait(HELD)  # it has an answer, or waits for its turn
    held.go.set()
    first.join(HELD)
    second.join(HELD)
    for name in ("first", "second"):
        assert answers[name].candidates[0].similarity > SAME_PHOTO, (
            name
        )  # the same eye, the same photo
    assert held.pipeline.encoder.name == "onnx"


def test_a_judge_that_was_asked_for_alone_is_followed_too(
    home: Path, cache: Path, model: Path, hopper: Path
) -> None:
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        assert gallery.scorer.head.marks.encoder == "dlib-resnet"
        switched(home, cache, model)
        assert gallery.query(hopper).candidates[0].similarity > SAME_PHOTO
        assert gallery.scorer.head.marks.encoder_sha256 == gallery.pipeline.encoder.weights_sha256


def test_an_eye_for_another_encoder_than_the_first_enrolments_is_not_asked(
    tmp_path: Path, cache: Path, eye: FacePipeline, model: Path, hopper: Path
) -> None:
    home = tmp_path / "new"
    home.mkdir()
    head_for_dlib_in_onnx(model, home)
    with Gallery.open(home, cache=cache, threads=1, encoder=f"onnx:{model}") as early:
        assert early.query(hopper).outcome == "unknown"
        with Gallery.open(home, cache=cache, threads=1) as other:
            other.__dict__["pipeline"] = eye
            assert other.enroll("Grace Hopper", hopper).outcome == "enrolled"
        with pytest.raises(EncoderChanged, match="of dlib-resnet"):
            early.query(hopper)


def head_with(model: Path, home: Path, seed: int) -> tuple[Path, Projection]:
    """A head for a model of many numbers, with a projection that is as good as any."""
    traits = OnnxNetwork(model).traits
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(traits.dimension, DIMENSION)).astype(np.float32)
    projection = Projection(matrix, traits.sha256)
    plain = head_for_dlib_in_onnx(model, home)
    sha256 = encoder_sha256(traits.sha256, projection)
    marks = replace(plain.marks, encoder_sha256=sha256)
    file = home / f"{home_stem(traits)}.safetensors"
    Head(plain._cohort, plain._each(), marks, projection).save(file)
    return file, projection


def test_a_new_projection_is_followed_while_nothing_needs_the_old_one(
    tmp_path: Path, cache: Path, hopper: Path
) -> None:
    home, model = tmp_path / "wide", made_model(tmp_path / "wide.onnx", 200)
    home.mkdir()
    head_with(model, home, 0)
    with Gallery.open(home, cache=cache, threads=1, encoder=f"onnx:{model}") as gallery:
        assert gallery.query(hopper).outcome == "unknown"
        _, second = head_with(model, home, 1)
        assert gallery.enroll("Grace Hopper", hopper).outcome == "enrolled"
        assert gallery.pipeline.encoder.projection is not None
        assert gallery.pipeline.encoder.projection.sha256 == second.sha256
    with Gallery.open(home, cache=cache, threads=1) as again:
        assert again.query(hopper).candidates[0].similarity > SAME_PHOTO


def test_the_projection_in_use_is_the_homes_whatever_head_is_named(
    tmp_path: Path, cache: Path, hopper: Path
) -> None:
    model = made_model(tmp_path / "wide.onnx", 200)
    traits = OnnxNetwork(model).traits
    home, other = tmp_path / "wide", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
    file, first = head_with(model, home, 0)
    named, second = head_with(model, other, 1)
    with Gallery.open(home, cache=cache, threads=1, encoder=f"onnx:{model}") as gallery:
        gallery.enroll("Grace Hopper", hopper)
    with Gallery.open(home, cache=cache, threads=1, head=named) as gallery:
        used = gallery.projection_in_use(traits)
        assert used is not None and used.sha256 == first.sha256
    shutil.copy(file, named)
    file.unlink()
    with Gallery.open(home, cache=cache, threads=1, head=named) as gallery:
        used = gallery.projection_in_use(traits)  # where it is, it is known, too
        assert used is not None and used.sha256 == first.sha256 != second.sha256


def test_a_named_head_is_passed_over_for_another_encoder(
    home: Path, cache: Path, model: Path, hopper: Path, tmp_path: Path
) -> None:
    """It is named over the whole change, also to one that is of the same kind."""
    other = made_model(tmp_path / "other.onnx", 70)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    head_for_dlib_in_onnx(model, elsewhere)
    (named,) = elsewhere.iterdir()
    with Gallery.open(home, cache=cache, threads=1, head=named) as gallery:
        assert gallery.query(hopper).outcome == "match"  # with the shipped head
        switched(home, cache, model, head=named)
        assert gallery.query(hopper).candidates[0].similarity > SAME_PHOTO
        traits = OnnxNetwork(other).traits
        with pytest.raises(HeadUnusable) as nothing:
            find_head(gallery.settings, traits)
        for part in (str(named), str(home), f"train-head --encoder {traits.spec}"):
            assert part in str(nothing.value)
        head_for_dlib_in_onnx(other, home)
        switched(home, cache, other, head=named)
        assert gallery.query(hopper).candidates[0].similarity > SAME_PHOTO
        assert gallery.scorer.head.marks.encoder_sha256 == traits.sha256
