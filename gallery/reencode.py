"""Re-encode a gallery's faces with another encoder, while the current one goes on answering.

Encodings are written every few faces, so a run that was killed resumes where it was. When every
face is encoded, one transaction switches encoders. The old encodings are kept until `finish`, so
rolling back is the same switch.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gallery.errors import CannotReencode, InvalidEncoding, PhotoError
from gallery.progress import Progress, no_progress
from gallery.store import audit, kept_images, reencoding
from gallery.store.database import Database
from gallery.store.encoders import EncoderRecord
from gallery.store.reencoding import FaceToEncode
from gallery.types import Encodings, Float32, Photo
from gallery.vision.crops import decode_picture
from gallery.vision.detection import VIEWS, align
from gallery.vision.folder import photos_in
from gallery.vision.photo import PhotoReader
from gallery.vision.pipeline import FacePipeline

_FACES_PER_WRITE = 4
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
    """

    def __init__(
        self, database: Database, reader: PhotoReader, record: EncoderRecord, folder: Path | None
    ) -> None:
        self._database = database
        self._reader = reader
        self._record = record
        self._folder = folder
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
        Raises CannotReencode if the re-encoding was ended meanwhile.
        """
        while encodable := self.plan().encodable:
            pipeline = open_pipeline()
            for start in range(0, len(encodable), _FACES_PER_WRITE):
                encoded: list[tuple[int, Encodings]] = []
                for face in encodable[start : start + _FACES_PER_WRITE]:
                    try:
                        encoded.append((face.id, self._encode(pipeline, face)))
                    except (PhotoError, InvalidEncoding) as error:
                        self.failures[face.id] = f"{face.name}, {face.photo}: {error}"
                with self._database.writing() as session:
                    for face_id, encodings in encoded:
                        reencoding.save(session, self._record.id, face_id, encodings)
                    encoded_count, faces = reencoding.progress(session, self._record.id)
                progress(encoded_count, faces)

    def _encode(self, pipeline: FacePipeline, face: FaceToEncode) -> Encodings:
        photo, landmarks = self._photo_and_landmarks(face)
        views = VIEWS[: max(1, face.views)]
        chips = align(photo, landmarks, views, pipeline.encoder.template)
        return pipeline.encoder.encode(chips[None])

    def _photo_and_landmarks(self, face: FaceToEncode) -> tuple[Photo, Float32]:
        with self._database.reading() as session:
            picture = kept_images.get(session, face.id)
        if picture is not None:
            return decode_picture(picture, self._reader)
        file = self._file_by_hash.get(face.photo_sha256)
        if file is None:
            raise PhotoError("its picture is gone")
        photo = self._reader.decode(self._reader.content(file), source=str(file))
        if photo.sha256 != face.photo_sha256:
            raise PhotoError(f"{file} was changed meanwhile")
        return photo, face.landmarks

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
