"""Re-encode a gallery's faces with another encoder, while the current one goes on answering.

Worker processes encode; this one reads and writes the database. Encodings are written every few
faces, so a run that was killed resumes where it was. When every face is encoded, one transaction
switches encoders. The old encodings are kept until `finish`, so rolling back is the same switch.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from gallery.encoders.registry import Spec, read_spec
from gallery.errors import CannotReencode, InvalidEncoding, PhotoError
from gallery.progress import Progress, no_progress
from gallery.store import audit, kept_images, reencoding
from gallery.store.database import Database
from gallery.store.encoders import EncoderRecord
from gallery.store.records import KeptImage
from gallery.store.reencoding import FaceToEncode
from gallery.types import Encodings, Float32, Photo
from gallery.vision.crops import decode_picture
from gallery.vision.detection import VIEWS, align
from gallery.vision.folder import photos_in
from gallery.vision.photo import PhotoReader
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import LostPhoto, Workers, map_photos

_FACES_PER_WRITE = 8
_AHEAD = 8
"""Faces taken for each worker: with their pictures, which may be whole photos, they fill memory."""
_MAX_NAMES = 20


@dataclass(frozen=True)
class ReencodingPlan:
    """What a re-encoding would do.

    faces : how many faces the gallery has.
    encoded : how many the encoder has encoded already.
    encodable : faces with a picture to encode them from.
    missing : faces without a picture, or without landmarks to find them in it.
    failed : faces whose picture could not be encoded; see Reencoder.failures.
    """

    faces: int
    encoded: int
    encodable: tuple[FaceToEncode, ...]
    missing: tuple[FaceToEncode, ...]
    failed: tuple[FaceToEncode, ...]

    @property
    def not_encodable(self) -> tuple[FaceToEncode, ...]:
        """Faces that cannot be encoded: missing or failed."""
        return (*self.missing, *self.failed)

    @property
    def remaining(self) -> tuple[FaceToEncode, ...]:
        """Faces that the encoder has not encoded."""
        return (*self.encodable, *self.not_encodable)

    @property
    def problem(self) -> str:
        """A description of the faces that cannot be encoded; empty when there are none."""
        groups = (
            (self.missing, "have no picture (or no landmarks in it) to encode them from"),
            (self.failed, "could not be encoded from their pictures"),
        )
        return "; ".join(
            f"{len(faces)} of {self.faces} faces {problem}: {_names(faces)}"
            for faces, problem in groups
            if faces
        )


def _names(faces: tuple[FaceToEncode, ...]) -> str:
    counts = Counter(face.name for face in faces)
    names = [f"{name} ({n})" if n > 1 else name for name, n in counts.items()]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"


class Reencoder:
    """Encode one gallery's faces with one encoder.

    record : the encoder.
    folder : photos to search, by their files' hashes, for those that the gallery did not keep.
    build_workers : returns the worker processes that encode many faces with the encoder of this
        spec; None for this process alone.
    """

    def __init__(
        self,
        database: Database,
        reader: PhotoReader,
        record: EncoderRecord,
        folder: Path | None,
        build_workers: Callable[[Spec], Workers] | None = None,
    ) -> None:
        self._database = database
        self._reader = reader
        self._record = record
        self._folder = folder
        self._build_workers = build_workers
        self._file_by_hash: dict[str, Path] = {}
        self._hashed: set[str] = set()
        self.failures: dict[int, str] = {}
        """Why a face's picture could not be encoded, with its name and photo, by face id."""

    def hash_photos(self, progress: Progress = no_progress) -> None:
        """Hash the photos of the folder. Raises PhotoUnreadable when it is not a folder."""
        if self._folder is None:
            return
        photos = photos_in(self._folder)
        for done, file in enumerate(photos, start=1):
            self._hash(file)
            progress(done, len(photos))

    def _hash(self, file: Path) -> None:
        self._hashed.add(str(file))
        with contextlib.suppress(PhotoError):
            self._file_by_hash[hashlib.sha256(self._reader.content(file)).hexdigest()] = file

    def _has_picture(self, face: FaceToEncode) -> bool:
        """Whether it is kept, or its photo is in the folder or still where it was enrolled from."""
        if face.has_image:
            return True
        if not face.has_landmarks:
            return False
        if face.photo_sha256 not in self._file_by_hash and face.photo not in self._hashed:
            self._hash(Path(face.photo))
        return face.photo_sha256 in self._file_by_hash

    def plan(self) -> ReencodingPlan:
        """Return what is left to do now."""
        with self._database.reading() as session:
            remaining = list(reencoding.to_encode(session, self._record.id))
            encoded, faces = reencoding.progress(session, self._record.id)
        encodable, missing, failed = [], [], []
        for face in remaining:
            if face.id in self.failures:
                failed.append(face)
            elif self._has_picture(face):
                encodable.append(face)
            else:
                missing.append(face)
        return ReencodingPlan(faces, encoded, tuple(encodable), tuple(missing), tuple(failed))

    def start(self) -> None:
        """Make this the gallery's next encoder. Raises EncoderChanged if it is the current one."""
        record = self._record
        with self._database.writing() as session:
            audit.record(session, "re-encode begun")
            reencoding.begin(session, record.name, record.weights_sha256, record.spec)

    def encode(
        self,
        open_pipeline: Callable[[], FacePipeline],
        progress: Progress = no_progress,
    ) -> None:
        """Encode every face that can be, including those enrolled meanwhile; see `failures`.

        open_pipeline : returns the encoder's pipeline; called only when there is a face to encode.
        progress : called with the numbers of encoded and of all faces.
        Raises CannotReencode if the re-encoding was ended meanwhile, or if a worker opens another
        encoder.
        """
        while encodable := self.plan().encodable:
            pipeline = open_pipeline()
            workers = None
            if self._build_workers is not None:
                workers = self._build_workers(read_spec(pipeline.encoder.network.traits.spec))
            results = map_photos(
                partial(_encode, self._record),
                self._tasks(encodable),
                pipeline,
                workers,
                ahead=_AHEAD,
            )
            while batch := list(islice(results, _FACES_PER_WRITE)):
                self._save(batch)
                with self._database.reading() as session:
                    encoded, faces = reencoding.progress(session, self._record.id)
                progress(encoded, faces)

    def _tasks(self, faces: Sequence[FaceToEncode]) -> Iterator[_Task]:
        """Each face with its picture, read when it is asked for; a kept picture may be erased."""
        for face in faces:
            with self._database.reading() as session:
                picture = kept_images.get(session, face.id)
            yield _Task(face, picture or self._file_by_hash.get(face.photo_sha256))

    def _save(self, results: Sequence[tuple[_Task, Encodings | str | LostPhoto]]) -> None:
        """Store the encodings of some faces in one transaction, and note the failures."""
        with self._database.writing() as session:
            for task, result in results:
                face = task.face
                if isinstance(result, Encodings):
                    reencoding.save(session, self._record.id, face.id, result)
                else:
                    reason = f" {result.reason}" if isinstance(result, LostPhoto) else f": {result}"
                    self.failures[face.id] = f"{face.name}, {face.photo}{reason}"

    def switch(self, *, leave_missing: bool) -> bool:
        """Make the encoder the current one. Returns False if there are still faces to encode.

        leave_missing : switch even if some faces cannot be encoded. They stay enrolled, but no
            search finds them.
        Raises CannotReencode if some faces cannot be encoded and must not be left, or if the
        re-encoding was ended meanwhile.
        """
        plan = self.plan()
        if plan.encodable:
            return False
        if plan.not_encodable and not leave_missing:
            raise cannot_reencode(plan)
        with self._database.writing() as session:
            # Checked again under the write lock, where nobody else enrols.
            remaining = {face.id for face in reencoding.to_encode(session, self._record.id)}
            if remaining != {face.id for face in plan.not_encodable}:
                return False
            reencoding.switch(session, self._record.id)
            audit.record(session, "re-encode")
        return True


def cannot_reencode(plan: ReencodingPlan) -> CannotReencode:
    """Return the error for a plan with faces that cannot be encoded, with the remedies."""
    remedies = ["name the folder that has their photos with --photos FOLDER"] * bool(plan.missing)
    remedies += ["fix what keeps the encoder from encoding them"] * bool(plan.failed)
    return CannotReencode(
        f"{plan.problem}; {', '.join(remedies)}, or leave them with --leave-missing: they stay"
        " enrolled under their names, but are not found until their photos are enrolled again"
    )


def require_encoder(pipeline: FacePipeline, record: EncoderRecord) -> None:
    """Raise CannotReencode if the pipeline's encoder is not exactly this one."""
    encoder = pipeline.encoder
    if (encoder.name, encoder.weights_sha256) != (record.name, record.weights_sha256):
        raise CannotReencode(
            f"{encoder.name} ({encoder.weights_sha256[:12]}) opens now in place of {record},"
            " and some faces are still to be encoded with that one; put back the model, its"
            " TOML file and the head with its projection, or name the other encoder with"
            " --encoder"
        )


# In a worker process


@dataclass(frozen=True)
class _Task:
    """A face to encode, and where from: its kept picture, or its photo's file; None if gone."""

    face: FaceToEncode
    picture: KeptImage | Path | None


def _encode(record: EncoderRecord, pipeline: FacePipeline, task: _Task) -> Encodings | str:
    """The face's encoding, (1, 128), or why there is none. Raises CannotReencode."""
    require_encoder(pipeline, record)  # its files may have been changed since the run began
    try:
        photo, landmarks = _photo_and_landmarks(pipeline.reader, task)
        views = VIEWS[: max(1, task.face.views)]
        chips = align(photo, landmarks, views, pipeline.encoder.template)
        return pipeline.encoder.encode(chips[None])
    except (PhotoError, InvalidEncoding) as error:
        return str(error)


def _photo_and_landmarks(reader: PhotoReader, task: _Task) -> tuple[Photo, Float32]:
    face, picture = task.face, task.picture
    if picture is None:
        raise PhotoError("its picture is gone")
    if isinstance(picture, KeptImage):
        return decode_picture(picture, reader)
    photo = reader.read(picture)
    if photo.sha256 != face.photo_sha256:
        raise PhotoError(f"{picture} was changed meanwhile")
    return photo, face.landmarks
