"""A contender: a process that is pinned to some cores and reads the photos that it is sent.

What is heavy to import is imported by the contender that needs it: worker processes import this
module too, and their start is measured.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gallery import Gallery
    from gallery.types import Decision

Found = dict[str, Any]
"""A face: box [left, top, right, bottom]; landmarks, five [x, y], and probability if there are."""
Done = Callable[[str, list[Found] | None], None]
"""Called after each photo with its path and its faces, largest first; None if they are unknown."""


class Contender(Protocol):
    """Reads photos, each from its file to its answer."""

    def answer(self, photos: list[str], done: Done) -> None: ...


class Query:
    """`Gallery.query_all`, one photo after the other in one process."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        gallery.pipeline  # noqa: B018  # loaded before the first turn

    def answer(self, photos: list[str], done: Done) -> None:
        for photo in photos:
            done(photo, _faces_of(self.gallery.query_all(photo)))


class QueryMany:
    """`Gallery.query_many`, by worker processes."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        gallery.pipeline  # noqa: B018

    def answer(self, photos: list[str], done: Done) -> None:
        for answer in self._gallery.query_many(photos, all_faces=True):
            done(answer.photo, _faces_of(answer.decisions))


class Enrol:
    """The reading of `enroll-identity --from-folder`, into a new gallery each time.

    in_workers : by worker processes, as with many photos; else in this process.
    """

    def __init__(self, gallery: Gallery, *, in_workers: bool) -> None:
        from gallery.encoders.registry import read_spec
        from gallery.factory import build_workers

        self._pipeline = gallery.pipeline
        spec = read_spec(self._pipeline.encoder.network.traits.spec)
        self._workers = build_workers(gallery.settings, spec) if in_workers else None

    def answer(self, photos: list[str], done: Done) -> None:
        from gallery import Gallery
        from gallery.dedupe.scan import list_photos, read_photos

        def progress(count: int, _: int) -> None:
            if count:
                done(photos[count - 1], None)

        views = self._pipeline.views.enrolled
        with tempfile.TemporaryDirectory() as home, Gallery.open(home) as new:
            listed, _ = list_photos([Path(photo) for photo in photos], self._pipeline, views)
            read_photos(listed, new.database, self._pipeline, views, self._workers, progress)


class FacenetPytorch:
    """facenet-pytorch. Its encoder has random weights: those trained take as long.

    as_in_readme : as its README shows it, one face of each photo; else all faces of 40 pixels and
        more, encoded together.
    """

    def __init__(self, cores: int, *, as_in_readme: bool) -> None:
        import torch
        from facenet_pytorch import MTCNN, InceptionResnetV1

        torch.set_num_threads(cores)
        if as_in_readme:
            self._detector = MTCNN(image_size=160)
        else:
            torch.set_grad_enabled(False)
            self._detector = MTCNN(image_size=160, min_face_size=40, keep_all=True)
        self._as_in_readme = as_in_readme
        self._encoder = InceptionResnetV1().eval()
        detect = self._detector.detect

        def recorded(*arguments: Any, **options: Any) -> Any:
            self._found = detect(*arguments, **options)
            return self._found

        self._detector.detect = recorded

    def answer(self, photos: list[str], done: Done) -> None:
        from PIL import Image

        for photo in photos:
            faces = self._detector(Image.open(photo).convert("RGB"))
            if faces is not None:
                self._encoder(faces.unsqueeze(0) if self._as_in_readme else faces)
            done(photo, self._faces())

    def _faces(self) -> list[Found]:
        boxes, probabilities, points = self._found
        if boxes is None:
            return []
        return [
            {"box": box.tolist(), "landmarks": five.tolist(), "probability": float(probability)}
            for box, probability, five in zip(boxes, probabilities, points, strict=True)
        ]


class FaceRecognition:
    """dlib as face_recognition calls it: `face_encodings(load_image_file(photo))`."""

    def __init__(self) -> None:
        import dlib
        import face_recognition_models as models

        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
        self._encoder = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def answer(self, photos: list[str], done: Done) -> None:
        import numpy as np
        from PIL import Image

        for photo in photos:
            pixels = np.array(Image.open(photo).convert("RGB"))
            boxes = self._detector(pixels, 1)
            for landmarks in [self._landmarks(pixels, box) for box in boxes]:
                np.array(self._encoder.compute_face_descriptor(pixels, landmarks, 1))
            done(photo, [{"box": [b.left(), b.top(), b.right(), b.bottom()]} for b in boxes])


def _faces_of(decisions: Any) -> list[Found]:
    found: list[Found] = []
    decision: Decision
    for decision in decisions:
        if (face := decision.face) is not None:
            found.append(
                {
                    "box": face.box.as_list(),
                    "landmarks": face.landmarks.tolist(),
                    "probability": face.probability,
                }
            )
    return found


def opened(kind: str, runtime: str | None, cores: int, home: str) -> Contender:
    """kind : as in `contenders.py`.  home : of the gallery that is asked."""
    if kind == "face_recognition":
        return FaceRecognition()
    if runtime is None:
        return FacenetPytorch(cores, as_in_readme=kind.endswith("README"))
    from gallery import Gallery

    precision = "bfloat16" if runtime == "openvino" else "float32"
    gallery = Gallery.open(home, runtime=runtime, precision=precision, threads=1)
    if kind == "enrolment":
        return Enrol(gallery, in_workers=cores > 1)
    return QueryMany(gallery) if cores > 1 else Query(gallery)


def timed(contender: Contender, photos: list[str]) -> dict[str, Any]:
    """Let it answer, and say when each photo was done.

    seconds : from the call to each answer.  cpu : seconds of the processors, of all processes.
    """
    answers: list[tuple[float, str, list[Found] | None]] = []
    cpu, start = _cpu(), time.perf_counter()
    contender.answer(photos, lambda *a: answers.append((time.perf_counter() - start, *a)))
    return {
        "seconds": [seconds for seconds, _, _ in answers],
        "cpu": _cpu() - cpu,
        "faces": {photo: faces for _, photo, faces in answers},
    }


def _cpu() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Answer the requests on stdin, one a line, until it ends."""
    wanted = json.loads(sys.argv[1])
    cores = wanted["cores"]
    os.sched_setaffinity(0, cores)
    # As on a machine that has only these: there is a worker process for each.
    os.cpu_count = lambda: len(cores)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    contender = opened(wanted["kind"], wanted["runtime"], len(cores), wanted["home"])
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["of"] == "stages":
            from tests.bench.photos.stages import measured

            assert isinstance(contender, Query)
            answer = measured(contender.gallery, request["sets"])
        else:
            answer = timed(contender, request["photos"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
