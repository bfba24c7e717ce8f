"""A re-encoding by worker processes: pictures that cannot be read, and a run that is killed."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sqlalchemy import delete, select

from gallery.encoders.registry import Spec, read_spec
from gallery.errors import CannotReencode
from gallery.factory import build_pipeline, build_reader
from gallery.gallery import Gallery
from gallery.reencode import Reencoder
from gallery.store import faces, identities, kept_images
from gallery.store.records import KeptImage, NewFace
from gallery.store.tables import OtherEncodingRow
from gallery.types import Face, Several
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import Workers
from tests.conftest import UnitRows
from tests.faults.killed_pipeline import DEADLY, killed_by_picture
from tests.models import export_dlib, save_dlib_onnx_head

FACES = 60
BROKEN, KILLS, CHANGED = 31, 33, 40
"""Ids of the faces whose picture cannot be decoded, whose kept picture kills the process that
decodes it (see killed_by_picture), and whose photo is replaced.
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return export_dlib(tmp_path_factory.mktemp("onnx") / "dlib.onnx", cache)


@pytest.fixture(scope="module")
def hopper_face(pipeline: FacePipeline, hopper: Path) -> Face:
    return pipeline.one_face(pipeline.open(hopper), Several.REFUSE)


@pytest.fixture
def crowd(
    gallery: Gallery,
    pipeline: FacePipeline,
    model: Path,
    hopper: Path,
    hopper_face: Face,
    unit_rows: UnitRows,
    tmp_path: Path,
) -> Gallery:
    """Faces with a kept picture, and every fourth with its photo's file, no two of them alike."""
    original = Image.open(hopper).convert("RGB")
    photo = pipeline.open(hopper)
    rows = unit_rows(FACES, 1)
    with gallery.database.writing() as session:
        encoder = faces.encoder_id(session, pipeline.encoder.name, pipeline.encoder.weights_sha256)
        for number in range(1, FACES + 1):
            file = BytesIO()
            ImageEnhance.Contrast(original).enhance(0.4 + 0.02 * number).save(file, "JPEG")
            content = {BROKEN: b"no photo", KILLS: DEADLY.encode()}.get(number, file.getvalue())
            path = tmp_path / f"{number}.jpg"
            own = replace(photo, sha256=hashlib.sha256(content).hexdigest(), source=str(path))
            person = identities.add(session, f"Person {number}")
            new = NewFace(hopper_face, rows.row(number - 1), views=2)
            face = faces.add(session, person, own, new, encoder)
            if number % 4 == 0:
                path.write_bytes(content)
            else:
                picture = KeptImage("photo", content, hopper_face.landmarks)
                kept_images.save(session, face, picture)
    save_dlib_onnx_head(model, gallery.settings.home)
    return gallery


def opened(gallery: Gallery, model: Path) -> FacePipeline:
    return gallery.encoder_pipeline(read_spec(f"onnx:{model}"))


def stored(gallery: Gallery, encoder: int) -> dict[int, bytes]:
    """The encodings of an encoder that is not in use, by face id."""
    with gallery.database.reading() as session:
        rows = session.scalars(select(OtherEncodingRow).filter_by(encoder_id=encoder))
        return {row.face_id: row.encoding for row in rows}


def test_workers_give_the_encodings_of_this_process_and_lose_bad_pictures_alone(
    crowd: Gallery, model: Path, tmp_path: Path
) -> None:
    pipeline = opened(crowd, model)
    record = crowd.encoder_record(pipeline)
    killing = partial(killed_by_picture, crowd.settings)

    def build_workers(spec: Spec) -> Workers:
        return Workers(2, partial(killing, spec), 60.0, 4 * 2**30)

    reencoder = Reencoder(crowd.database, build_reader(crowd.settings), record, None, build_workers)
    assert len(reencoder.plan().encodable) == FACES
    (tmp_path / f"{CHANGED}.jpg").write_bytes((tmp_path / "4.jpg").read_bytes())
    reencoder.start()
    steps: list[tuple[int, int]] = []
    reencoder.encode(lambda: pipeline, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (FACES - 3, FACES) and steps == sorted(steps) and len(steps) > 4
    assert sorted(reencoder.failures) == [BROKEN, KILLS, CHANGED]
    assert reencoder.failures[BROKEN].startswith(f"Person {BROKEN}, {tmp_path / '31.jpg'}: ")
    assert reencoder.failures[KILLS].startswith(
        f"Person {KILLS}, {tmp_path / '33.jpg'} was not read: its process ended (SIGKILL)"
    )
    assert "40.jpg was changed meanwhile" in reencoder.failures[CHANGED]
    assert {face.id for face in reencoder.plan().failed} == {BROKEN, KILLS, CHANGED}
    by_workers = stored(crowd, record.id)

    with crowd.database.writing() as session:
        session.execute(delete(OtherEncodingRow))
    alone = Reencoder(crowd.database, build_reader(crowd.settings), record, None)
    alone.encode(lambda: pipeline)
    here = stored(crowd, record.id)
    assert here.keys() == by_workers.keys() and len(set(here.values())) == len(here)
    for face, encoding in here.items():
        np.testing.assert_allclose(
            np.frombuffer(by_workers[face], "<f4"), np.frombuffer(encoding, "<f4"), atol=1e-4
        )


def test_killed_run_with_workers_goes_on_where_it_was(
    crowd: Gallery, model: Path, cache: Path
) -> None:
    record = crowd.encoder_record(opened(crowd, model))
    home, spec = str(crowd.settings.home), f"onnx:{model}"
    killed = subprocess.Popen(
        [sys.executable, "-c", "from gallery.cli.main import main; main()"]
        + ["--home", home, "re-encode", "--encoder", spec, "--leave-missing", "--yes"],
        env={"GALLERY_CACHE": str(cache), "GALLERY_THREADS": "1", "PATH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before: dict[int, bytes] = {}
    while not before and killed.poll() is None:
        time.sleep(0.01)
        before = stored(crowd, record.id)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    before = stored(crowd, record.id)
    assert 0 < len(before) < FACES - 2
    reencoder = crowd.reencoder(record)
    assert reencoder.plan().encoded == len(before)
    steps: list[int] = []
    reencoder.encode(lambda: opened(crowd, model), lambda done, _: steps.append(done))
    assert steps[0] > len(before) and steps[-1] == FACES - 2
    assert sorted(reencoder.failures) == [BROKEN, KILLS]
    assert reencoder.switch(leave_missing=True)
    assert len(crowd.encodings().face_ids) == FACES - 2


def test_worker_that_opens_another_encoder_ends_the_run(crowd: Gallery, model: Path) -> None:
    """As when the files of the model are replaced during the run."""
    pipeline = opened(crowd, model)
    record = crowd.encoder_record(pipeline)
    other = partial(build_pipeline, crowd.settings, crowd.spec)
    reencoder = Reencoder(
        crowd.database,
        build_reader(crowd.settings),
        record,
        None,
        lambda _: Workers(2, other, 60.0, 4 * 2**30),
    )
    reencoder.start()
    with pytest.raises(CannotReencode, match=f"opens now in place of onnx:{model}"):
        reencoder.encode(lambda: pipeline)
    assert stored(crowd, record.id) == {}
