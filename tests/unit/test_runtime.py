"""An open gallery follows a change of its encoder or head, and never mixes the parts of two."""

from __future__ import annotations

import shutil
import threading
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
from gallery.matching.head_files import find_head, head_stem
from gallery.matching.index import IndexReplica
from gallery.matching.search import CandidateFaces, CandidateSearch
from gallery.runtime import Runtime
from gallery.types import DIMENSION, Decision, Encodings
from tests.models import save_dlib_onnx_head, write_model

SAME_PHOTO = 0.99
"""One encoder's similarity of a photo to itself, in more views and in fewer, is higher."""
HELD = 60.0
"""Seconds after which a test that waits has failed."""


class NoticedLock:
    """A lock that sets an event when somebody has to wait for it."""

    def __init__(self, awaited: threading.Event) -> None:
        self._lock = threading.Lock()
        self._awaited = awaited

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._awaited.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "small.onnx", 64)


@pytest.fixture
def home(tmp_path: Path, cache: Path, hopper: Path, model: Path) -> Path:
    """One person with the default encoder; there is a head for the model."""
    made = tmp_path / "home"
    with Gallery.open(made, cache=cache, threads=1) as gallery:
        assert gallery.enroll("Grace Hopper", hopper).outcome == "enrolled"
    save_dlib_onnx_head(model, made)
    return made


def switched(home: Path, cache: Path, model: Path, **settings: object) -> None:
    """Switch the encoder as `re-encode` does in another process."""
    with Gallery.open(home, cache=cache, threads=1, **settings) as gallery:
        pipeline = gallery.encoder_pipeline(read_spec(f"onnx:{model}"))
        reencoder = gallery.reencoder(gallery.encoder_record(pipeline))
        reencoder.start()
        reencoder.encode(lambda: pipeline)
        assert reencoder.switch(leave_missing=False)


def rolled_back(home: Path, cache: Path) -> None:
    """Go back as `re-encode --rollback` does in another process."""
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        reencoder = gallery.reencoder(gallery.previous_encoder())
        reencoder.start()
        assert reencoder.switch(leave_missing=False)


def test_no_query_mixes_the_parts_of_two_encoders(
    home: Path, cache: Path, model: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One query replaces the parts and is held in the middle of it; another one arrives."""
    answered_or_waiting, replacing, proceed = (threading.Event() for _ in range(3))
    monkeypatch.setattr("gallery.runtime.Lock", lambda: NoticedLock(answered_or_waiting))
    decisions: dict[str, Decision] = {}
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        assert gallery.query(hopper).outcome == "match"
        switched(home, cache, model)

        def held_index(runtime: Runtime, encoder: str) -> IndexReplica:
            monkeypatch.undo()
            replacing.set()
            assert proceed.wait(HELD)
            return runtime._new_index(encoder)

        monkeypatch.setattr("gallery.runtime.Runtime._new_index", held_index)

        def ask(name: str) -> None:
            decisions[name] = gallery.query(hopper)
            answered_or_waiting.set()

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("first", "second")]
        threads[0].start()
        assert replacing.wait(HELD)
        threads[1].start()
        assert answered_or_waiting.wait(HELD)
        proceed.set()
        for thread in threads:
            thread.join(HELD)
        # Either query encodes the photo with the encoder of the encodings that it searches.
        for name in ("first", "second"):
            assert decisions[name].candidates[0].similarity > SAME_PHOTO
        assert gallery.pipeline.encoder.name == "onnx"


def test_query_during_a_switch_there_and_back_is_repeated(
    home: Path, cache: Path, model: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder is the same before and after the query, but not at its search."""
    search, searches = CandidateSearch.find, 0

    def find(self: CandidateSearch, query: Encodings) -> CandidateFaces:
        nonlocal searches
        searches += 1
        if searches == 1:
            switched(home, cache, model)
            try:
                return search(self, query)
            finally:
                rolled_back(home, cache)
        return search(self, query)

    with Gallery.open(home, cache=cache, threads=1) as gallery:
        monkeypatch.setattr(CandidateSearch, "find", find)
        assert gallery.query(hopper).candidates[0].similarity > SAME_PHOTO
    assert searches == 2


def test_former_names_still_work(gallery: Gallery) -> None:
    assert gallery.eye is gallery.pipeline and gallery.judge is gallery.scorer
    assert gallery.encoder_eye(gallery.spec).encoder.name == gallery.pipeline.encoder.name


def test_parts_are_kept_while_nothing_changes_and_rebuilt_for_a_new_head(
    home: Path, cache: Path, model: Path, hopper: Path
) -> None:
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        pipeline, scorer, index = gallery.pipeline, gallery.scorer, gallery.index
        gallery.query(hopper)
        assert (gallery.pipeline, gallery.scorer, gallery.index) == (pipeline, scorer, index)
        scorer.head.save(home / "head.safetensors")
        assert gallery.scorer is not scorer
        assert (gallery.pipeline, gallery.index) == (pipeline, index)


def test_a_scorer_built_without_its_pipeline_follows_the_switch(
    home: Path, cache: Path, model: Path, hopper: Path
) -> None:
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        assert gallery.scorer.head.metadata.encoder == "dlib-resnet"
        switched(home, cache, model)
        assert gallery.query(hopper).candidates[0].similarity > SAME_PHOTO
        assert (
            gallery.scorer.head.metadata.encoder_sha256 == gallery.pipeline.encoder.weights_sha256
        )


def test_a_pipeline_of_another_encoder_than_the_first_enrolments_is_refused(
    tmp_path: Path, cache: Path, model: Path, hopper: Path
) -> None:
    home = tmp_path / "new"
    home.mkdir()
    save_dlib_onnx_head(model, home)
    with Gallery.open(home, cache=cache, threads=1, encoder=f"onnx:{model}") as early:
        assert early.query(hopper).outcome == "unknown"
        with Gallery.open(home, cache=cache, threads=1) as other:
            assert other.enroll("Grace Hopper", hopper).outcome == "enrolled"
        with pytest.raises(EncoderChanged, match="of dlib-resnet"):
            early.query(hopper)


def head_with(model: Path, home: Path, seed: int) -> tuple[Path, Projection]:
    """A head for a model of many numbers, with a projection that is as good as any."""
    traits = OnnxNetwork(model).traits
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(traits.dimension, DIMENSION)).astype(np.float32)
    projection = Projection(matrix, traits.sha256)
    plain = save_dlib_onnx_head(model, home)
    sha256 = encoder_sha256(traits.sha256, projection)
    marks = replace(plain.metadata, encoder_sha256=sha256)
    file = home / f"{head_stem(traits)}.safetensors"
    Head(plain.cohort, plain.networks, marks, projection).save(file)
    return file, projection


def test_a_new_projection_is_used_while_no_encoding_needs_the_old_one(
    tmp_path: Path, cache: Path, hopper: Path
) -> None:
    home, model = tmp_path / "wide", write_model(tmp_path / "wide.onnx", 200)
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


def test_the_projection_in_use_is_the_home_s_whatever_head_is_named(
    tmp_path: Path, cache: Path, hopper: Path
) -> None:
    model = write_model(tmp_path / "wide.onnx", 200)
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


def test_a_named_head_of_another_encoder_is_ignored(
    home: Path, cache: Path, model: Path, hopper: Path, tmp_path: Path
) -> None:
    """It is named over the whole change, also to one that is of the same kind."""
    other = write_model(tmp_path / "other.onnx", 70)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    save_dlib_onnx_head(model, elsewhere)
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
        save_dlib_onnx_head(other, home)
        switched(home, cache, other, head=named)
        assert gallery.query(hopper).candidates[0].similarity > SAME_PHOTO
        assert gallery.scorer.head.metadata.encoder_sha256 == traits.sha256
