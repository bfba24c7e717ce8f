"""A gallery's faces encoded anew with another encoder, while the old one goes on answering.

What is done is in the database after every few faces, so that a run that was killed goes on where
it was. When every face is done, one transaction switches over; the old encodings are kept until
`finish`, so that the way back is the same switch.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gallery.errors import CannotReencode, InvalidEncoding, PhotoError
from gallery.store import audit, kept_images, reencoding
from gallery.store.database import Database
from gallery.store.encoders import EncoderRecord
from gallery.store.reencoding import FaceToEncode
from gallery.types import Encodings, Float32, Photo
from gallery.vision.crops import photo_of
from gallery.vision.detection import VIEWS, align
from gallery.vision.photo import PhotoReader, photos_in
from gallery.vision.pipeline import FacePipeline

_FACES_A_WRITE = 4
_MOST_NAMED = 20


@dataclass(frozen=True)
class Plan:
    """What a re-encoding would do.

    faces : all of them.  ready : those that the encoder has seen already.
    possible : those with a picture to encode from.
    missing : those without, or without landmarks to find the face in it.
    failed : those whose picture could not be encoded. See Reencoder.failed.
    """

    faces: int
    ready: int
    possible: tuple[FaceToEncode, ...]
    missing: tuple[FaceToEncode, ...]
    failed: tuple[FaceToEncode, ...]

    @property
    def unable(self) -> tuple[FaceToEncode, ...]:
        """Those that cannot be encoded, missing or failed."""
        return (*self.missing, *self.failed)

    @property
    def left(self) -> tuple[FaceToEncode, ...]:
        """All that the encoder has not seen."""
        return (*self.possible, *self.unable)

    @property
    def said(self) -> str:
        """What cannot be done, in words; empty when everything can."""
        return "; ".join(
            f"{len(those)} of {self.faces} faces {what}, of {_people(those)}"
            for those, what in (
                (self.missing, "have no picture (or no landmarks in it) to be encoded from"),
                (self.failed, "could not be encoded from their pictures"),
            )
            if those
        )


def _people(those: tuple[FaceToEncode, ...]) -> str:
    people: dict[str, int] = {}
    for face in those:
        people[face.name] = people.get(face.name, 0) + 1
    named = [f"{name} ({n})" if n > 1 else name for name, n in people.items()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"{', '.join(named[:_MOST_NAMED])}{more}"


class Reencoder:
    """Encodes one gallery's faces with one encoder.

    record : the encoder.  folder : of photos, to look for those that are not kept by their files'
    hashes.
    """

    def __init__(
        self, database: Database, reader: PhotoReader, record: EncoderRecord, folder: Path | None
    ) -> None:
        self._database = database
        self._reader = reader
        self._record = record
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._tried: set[str] = set()
        self.failed: dict[int, str] = {}
        """Of faces whose picture could not be encoded, whose each is and why."""

    def look(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Hash the photos of the folder. Raises PhotoUnreadable when it is none."""
        if self._folder is None:
            return
        photos = photos_in(self._folder)
        for done, file in enumerate(photos, start=1):
            self._hash(file)
            progress(done, len(photos))

    def _hash(self, file: Path) -> None:
        self._tried.add(str(file))
        with contextlib.suppress(PhotoError):
            self._files[hashlib.sha256(self._reader.content(file)).hexdigest()] = file

    def _can(self, face: FaceToEncode) -> bool:
        """Whether there is a picture: kept, in the folder, or still where it was enrolled from."""
        if not face.kept and not face.placed:
            return False
        if not face.kept and face.photo_sha256 not in self._files and face.photo not in self._tried:
            self._hash(Path(face.photo))
        return face.kept or face.photo_sha256 in self._files

    def plan(self) -> Plan:
        """What is left to do now."""
        with self._database.reading() as session:
            left = list(reencoding.to_encode(session, self._record.id))
            ready, faces = reencoding.done(session, self._record.id)
        failed = tuple(face for face in left if face.id in self.failed)
        untried = [face for face in left if face.id not in self.failed]
        possible = tuple(face for face in untried if self._can(face))
        able = {face.id for face in possible}
        missing = tuple(face for face in untried if face.id not in able)
        return Plan(faces, ready, possible, missing, failed)

    def start(self) -> None:
        """Make it the next encoder. Raises EncoderChanged when it is the one in use."""
        record = self._record
        with self._database.writing() as session:
            audit.record(session, "re-encode begun")
            reencoding.begin(session, record.name, record.weights_sha256, str(record.spec))

    def encode(
        self,
        eye: Callable[[], FacePipeline],
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        """Encode everything possible, what is enrolled meanwhile too. See failed.

        eye : what sees with the encoder; asked for only when something is to be encoded.
        Raises CannotReencode when the re-encoding was ended meanwhile.
        """
        while todo := self.plan().possible:
            seeing = eye()
            for start in range(0, len(todo), _FACES_A_WRITE):
                some = todo[start : start + _FACES_A_WRITE]
                seen: list[tuple[int, Encodings]] = []
                for face in some:
                    try:
                        seen.append((face.id, self._encoded(seeing, face)))
                    except (PhotoError, InvalidEncoding) as error:
                        self.failed[face.id] = f"{face.name}, {face.photo}: {error}"
                with self._database.writing() as session:
                    for face_id, encodings in seen:
                        reencoding.put(session, self._record.id, face_id, encodings)
                    ready, faces = reencoding.done(session, self._record.id)
                progress(ready, faces)

    def _encoded(self, eye: FacePipeline, face: FaceToEncode) -> Encodings:
        photo, landmarks = self._picture(face)
        chips = align(photo, landmarks, VIEWS[: max(1, face.views)], eye.encoder.template)
        return eye.encoder.encode(chips[None])

    def _picture(self, face: FaceToEncode) -> tuple[Photo, Float32]:
        with self._database.reading() as session:
            picture = kept_images.get(session, face.id)
        if picture is not None:
            return photo_of(picture, self._reader)
        file = self._files.get(face.photo_sha256)
        if file is None:
            raise PhotoError("its picture is gone")
        photo = self._reader.decode(self._reader.content(file), source=str(file))
        if photo.sha256 != face.photo_sha256:
            raise PhotoError(f"{file} was changed meanwhile")
        return photo, face.landmarks

    def switch(self, *, leave_missing: bool) -> bool:
        """Let the encoder answer, if nothing is left to encode; False when there is.

        leave_missing : faces that cannot be encoded stay enrolled, in no search.
        Raises CannotReencode when there are some and they must not be left, or when the
        re-encoding was ended meanwhile.
        """
        plan = self.plan()
        if plan.possible:
            return False
        if plan.unable and not leave_missing:
            raise cannot(plan)
        with self._database.writing() as session:
            # Under the write lock: nobody enrols from here on.
            left = {face.id for face in reencoding.to_encode(session, self._record.id)}
            if left != {face.id for face in plan.unable}:
                return False
            reencoding.switch(session, self._record.id)
            audit.record(session, "re-encode")
        return True


def cannot(plan: Plan) -> CannotReencode:
    """What is missing, and what can be done about it."""
    remedies = ["name a folder that their photos are in with --photos FOLDER"] * bool(plan.missing)
    remedies += ["mend what hinders the encoder"] * bool(plan.failed)
    return CannotReencode(
        f"{plan.said}; {', '.join(remedies)}, or leave them with --leave-missing: they stay"
        " enrolled under their names, but are not found until their photos are enrolled again"
    )
