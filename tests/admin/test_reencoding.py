"""Changing the encoder of a gallery from Python."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from gallery.admin.reencoding import ReencodingResult, reencode_gallery, reencoding_lock
from gallery.encoders.registry import read_spec
from gallery.errors import CannotReencode, DatabaseBusy
from gallery.gallery import Gallery
from gallery.reencode import ReencodingPlan
from gallery.vision.pipeline import FacePipeline
from tests.conftest import AddFace, UnitRows
from tests.models import export_dlib, save_dlib_onnx_head


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return export_dlib(tmp_path_factory.mktemp("onnx") / "dlib.onnx", cache)


@pytest.fixture
def new_pipeline(gallery: Gallery, model: Path) -> FacePipeline:
    save_dlib_onnx_head(model, gallery.settings.home)
    return gallery.encoder_pipeline(read_spec(f"onnx:{model}"))


def test_re_encode_switches_and_goes_back(
    gallery: Gallery, new_pipeline: FacePipeline, hopper: Path, pipeline: FacePipeline
) -> None:
    face = gallery.enroll("Grace Hopper", hopper).face_id
    reencoder = gallery.reencoder(gallery.encoder_record(new_pipeline), hopper.parent)
    steps: list[tuple[str, int, int]] = []
    result = reencode_gallery(
        reencoder,
        lambda: new_pipeline,
        gallery.switched,
        progress=lambda step, done, total: steps.append((step, done, total)),
    )
    assert result == ReencodingResult(faces=1, encoded=1, unencoded=(), missing=(), failed={})
    with pytest.raises(FrozenInstanceError):
        result.faces = 2  # type: ignore[misc]
    assert {step for step, _, _ in steps} == {"looking for photos", "encoding"}
    assert steps[-1] == ("encoding", 1, 1)
    assert gallery.query(hopper).decided_by.face_id == face  # type: ignore[union-attr]
    assert gallery.pipeline.encoder.name == "onnx"

    back = gallery.reencoder(gallery.previous_encoder())
    result = reencode_gallery(back, lambda: pytest.fail("it needs no network"), gallery.switched)
    assert (result.faces, result.encoded) == (1, 1)
    assert gallery.spec.kind == pipeline.encoder.name


def test_gallery_re_encodes_in_one_call(
    gallery: Gallery, new_pipeline: FacePipeline, model: Path, hopper: Path
) -> None:
    gallery.enroll("Grace Hopper", hopper)
    steps: list[str] = []
    result = gallery.reencode(
        f"onnx:{model}", progress=lambda step, _done, _total: steps.append(step)
    )
    assert (result.faces, result.encoded) == (1, 1)
    assert "encoding" in steps
    assert gallery.pipeline.encoder.name == "onnx"
    assert gallery.query(hopper).outcome == "match"


def test_rollback_to_an_encoder_of_imported_faces(
    gallery: Gallery,
    new_pipeline: FacePipeline,
    model: Path,
    add_face: AddFace,
    unit_rows: UnitRows,
    cache: Path,
) -> None:
    """Their encoder has no spec, since no pipeline was ever opened."""
    add_face(gallery.database, "Ada", unit_rows(1, 1).row(0), 1)
    gallery.reencode(f"onnx:{model}", leave_missing=True)
    back = gallery.reencoder(gallery.previous_encoder())
    reencode_gallery(back, lambda: pytest.fail("it needs no network"), gallery.switched)
    with Gallery.open(gallery.settings.home, cache=cache, threads=1) as reopened:
        assert reopened.spec.kind == "dlib-resnet"
        assert reopened.pipeline.encoder.name == "dlib-resnet"


def test_missing_faces_are_confirmed_before_anything_changes(
    gallery: Gallery, new_pipeline: FacePipeline, hopper: Path
) -> None:
    face = gallery.enroll("Grace Hopper", hopper.read_bytes()).face_id  # no file to find again
    reencoder = gallery.reencoder(gallery.encoder_record(new_pipeline))
    plans: list[ReencodingPlan] = []
    with pytest.raises(CannotReencode, match="--leave-missing"):
        reencode_gallery(reencoder, lambda: new_pipeline, gallery.switched, confirm=plans.append)
    assert [missing.id for missing in plans[0].missing] == [face]

    def refuse(_: ReencodingPlan) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reencode_gallery(
            reencoder, lambda: new_pipeline, gallery.switched, leave_missing=True, confirm=refuse
        )
    assert gallery.query(hopper).outcome == "match"

    result = reencode_gallery(reencoder, lambda: new_pipeline, gallery.switched, leave_missing=True)
    assert (result.encoded, result.unencoded, result.missing) == (0, (face,), ())
    assert gallery.query(hopper).outcome == "unknown"


def test_lock_is_exclusive(tmp_path: Path) -> None:
    file = tmp_path / "reencode.lock"
    with reencoding_lock(file), pytest.raises(DatabaseBusy), reencoding_lock(file):
        pass
    with reencoding_lock(file):
        pass
