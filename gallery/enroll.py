"""Enrolment: a photo of a known person becomes an enrolled face, in one database transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gallery.dates import checked_date
from gallery.dedupe.image_similarity import NEAR_BITS, grey_jpeg, perceptual_hashes
from gallery.errors import NoFaceFound, PhotoError, SeveralFacesFound
from gallery.identify import Identifier
from gallery.matching.decision import matches
from gallery.matching.lookalikes import SAME_PICTURE_COSINE, is_unlike
from gallery.matching.scorer import Scorer
from gallery.names import checked_name
from gallery.store import audit, faces, identities, kept_images, recalled
from gallery.store.change_log import latest_change
from gallery.store.database import Database
from gallery.store.records import FaceRecord, NewFace
from gallery.timing import stage
from gallery.types import (
    Candidate,
    Encodings,
    Enrolment,
    EnrolOutcome,
    Face,
    IdentityRef,
    Photo,
    Refusal,
    Several,
)
from gallery.vision.crops import Keep, picture_to_keep, thumbnail
from gallery.vision.pipeline import FacePipeline, PhotoSource, source_name

_LEAST_OTHERS = 2


@dataclass(frozen=True)
class EncodedFace:
    """A photo's face that was found and encoded before it is enrolled.

    sha256 : of the photo's file.  faces : how many faces it has.
    encoder : SHA-256 of the encoder's weights.  encoding : one row, of an enrolled face's views.
    """

    sha256: str
    encoder: str
    face: Face
    encoding: Encodings
    faces: int


class Enroller:
    """Enrol faces from photos.

    views : how many views of a face are averaged into its encoding.
    thumbnails : keep a thumbnail of each face.
    keep : what is kept of a photo, to encode the face again with another encoder.
    """

    def __init__(
        self,
        pipeline: FacePipeline,
        identifier: Identifier,
        scorer: Scorer,
        database: Database,
        *,
        views: int,
        thumbnails: bool = False,
        keep: Keep = "nothing",
    ) -> None:
        self._pipeline = pipeline
        self._identifier = identifier
        self._scorer = scorer
        self._database = database
        self._views = views
        self._thumbnails = thumbnails
        self._keep = keep

    def enroll(
        self,
        name: str,
        source: PhotoSource,
        *,
        several: Several = Several.REFUSE,
        force: bool = False,
        taken: str | None = None,
        encoded: EncodedFace | None = None,
        again: bool = False,
    ) -> Enrolment:
        """Enrol one photo. When this returns "enrolled", the face is on disk.

        several : which face to take when the photo has more than one; by default, none.
        encoded : the face to take, if it is known; ignored if the file or the encoder has changed.
        again : the photo may have been enrolled before, under any name. Without force, a picture
            that is enrolled is left as it is, and one that was erased is refused.
        force : enrol even if the face matches another identity.
        taken : when the photo was taken, see gallery.dates; None for what its EXIF data say.
        Raises InvalidName, DateInvalid and HomeError; a problem with the photo is an outcome.
        """
        name = checked_name(name)
        label = source_name(source)
        date = None if taken is None else checked_date(taken)
        try:
            enrolment = self._enroll(
                name,
                source,
                label,
                several=several,
                force=force,
                taken=date,
                encoded=encoded,
                again=again,
            )
        except NoFaceFound as error:
            return _refused(label, _reason(error, label), Refusal.NO_FACE)
        except SeveralFacesFound as error:
            return _refused(label, _reason(error, label), Refusal.SEVERAL_FACES)
        except PhotoError as error:
            return Enrolment(label, EnrolOutcome.ERROR, None, None, _reason(error, label))
        if date is not None and enrolment.outcome is EnrolOutcome.ALREADY:
            reason = (
                f"{enrolment.reason}, its date neither: `gallery faces date {enrolment.face_id}"
                f" {date}` sets it"
            )
            return replace(enrolment, reason=reason)
        return enrolment

    def _enroll(
        self,
        name: str,
        source: PhotoSource,
        label: str,
        *,
        several: Several,
        force: bool,
        taken: str | None,
        encoded: EncodedFace | None,
        again: bool,
    ) -> Enrolment:
        content = self._pipeline.content(source)
        sha256 = hashlib.sha256(content).hexdigest()
        existing = self._existing(name, sha256, label)
        if existing is not None:
            return existing
        was_erased = self._was_erased(name, sha256)
        if was_erased and again and not force:
            reason = f"this photo was erased from {name} before; use force to enrol it again"
            return _refused(label, reason, Refusal.FORGOTTEN)
        with stage("decode"):
            photo = self._pipeline.reader.decode(content, label)
        if taken is not None:
            photo = replace(photo, taken=taken)
        current = photo.sha256, self._pipeline.encoder.weights_sha256
        if encoded is None or (encoded.sha256, encoded.encoder) != current:
            encoded = self._encoded(photo, several)
        picture = picture_to_keep(self._keep, photo, encoded.face, content, encoded.faces)
        picture_hash = perceptual_hashes(grey_jpeg(photo))[0].tobytes().hex()
        new = NewFace(encoded.face, encoded.encoding, self._views, picture, taken, picture_hash)
        warning = f"; warning: this photo was erased from {name} before" if was_erased else ""
        while True:
            existing = self._existing(name, photo.sha256, label)
            if existing is not None:  # another process may have enrolled it meanwhile
                return existing
            with self._database.reading() as session:
                position = latest_change(session)
            enrolment = self._enroll_unless_rivals(
                name, photo, new, position, force=force, again=again, warning=warning
            )
            if enrolment is not None:
                return enrolment

    def _encoded(self, photo: Photo, several: Several) -> EncodedFace:
        faces_found = self._pipeline.faces(photo)
        face = self._pipeline.pick(photo, faces_found, several)
        encoding = self._pipeline.encode(photo, [face], self._views)
        encoder = self._pipeline.encoder.weights_sha256
        return EncodedFace(photo.sha256, encoder, face, encoding, len(faces_found))

    def _existing(self, name: str, sha256: str, label: str) -> Enrolment | None:
        """The enrolment of this photo for this identity, if there is one."""
        with self._database.reading() as session:
            record = identities.find(session, name)
            face_id = None if record is None else faces.face_id_of(session, record.id, sha256)
        if record is None or face_id is None:
            return None
        reason = f"this photo is already enrolled for {record.name}; nothing was changed"
        return Enrolment(label, EnrolOutcome.ALREADY, record.ref, face_id, reason)

    def _enroll_unless_rivals(
        self,
        name: str,
        photo: Photo,
        new: NewFace,
        position: int,
        *,
        force: bool,
        again: bool,
        warning: str,
    ) -> Enrolment | None:
        """Enrol the face, or refuse it because it matches other identities.

        Returns None if the gallery changed after `position`: the face must be scored again.
        """
        decision = self._identifier.decide_face(photo, new.face, new.encodings)
        if again and not force:
            copy = self._same_picture(photo, new, decision.candidates)
            if copy is not None:
                reason = f"this picture is already enrolled, as {copy.identity.name}"
                return Enrolment(photo.source, EnrolOutcome.ALREADY, copy.identity, copy.id, reason)
        rivals = [
            candidate
            for candidate in matches(decision.candidates)
            if candidate.identity.name != name and not self._is_by_odd_face(candidate, new)
        ]
        rival_refs = tuple(c.identity for c in rivals)
        # The page parses "(90%, by " (api/page/elements.js) and "; warning: " (enroll.js).
        names = ", ".join(f"{c.identity.name} ({c.probability:.0%}, by {c.photo})" for c in rivals)
        if rivals and not force:
            reason = f"it matches {names}; use force to enrol it as {name} anyway"
            return _refused(photo.source, reason, Refusal.MATCHES_ANOTHER, rival_refs)
        warning += f"; warning: it matches {names}" if rivals else ""
        unlike_warning = self._unlike_warning(name, new)
        enrolment = self._store(name, photo, new, position, warning + unlike_warning)
        if enrolment is None:
            return None
        return replace(enrolment, rivals=rival_refs, unlike=bool(unlike_warning))

    def _was_erased(self, name: str, sha256: str) -> bool:
        with self._database.reading() as session:
            record = identities.find(session, name)
            return record is not None and recalled.is_photo_erased(session, record.id, sha256)

    def _same_picture(
        self, photo: Photo, new: NewFace, candidates: Sequence[Candidate]
    ) -> FaceRecord | None:
        """The enrolled face from the same file, or from the same picture in another file."""
        near = [c.face_id for c in candidates if c.similarity >= SAME_PICTURE_COSINE]
        with self._database.reading() as session:
            records = faces.records_by_id(session, near)
        for record in records.values():
            if record.photo_sha256 == photo.sha256 or _is_near(
                record.picture_hash, new.picture_hash
            ):
                return record
        return None

    def _is_by_odd_face(self, rival: Candidate, new: NewFace) -> bool:
        """Whether the new face matches the rival only by a face that is unlike its others.

        Of two faces that do not match, nothing tells which one is wrong: both count.
        """
        with self._database.reading() as session:
            stored = faces.encodings_of(session, [rival.identity.id])
        matching = stored.face_ids == rival.face_id
        others = stored.encodings.take(np.flatnonzero(~matching))
        if len(others) < _LEAST_OTHERS or not matching.any():
            return False
        face = stored.encodings.take(np.flatnonzero(matching))
        return is_unlike(self._scorer, face, others) and is_unlike(
            self._scorer, new.encodings, others
        )

    def _unlike_warning(self, name: str, new: NewFace) -> str:
        with self._database.reading() as session:
            record = identities.find(session, name)
            others = None if record is None else faces.encodings_of(session, [record.id]).encodings
        if others is None or not is_unlike(self._scorer, new.encodings, others):
            return ""
        photos = "photo" if len(others) == 1 else f"{len(others)} photos"
        return f"; warning: this photo does not look like the other {photos} of {name}"

    def _store(
        self, name: str, photo: Photo, new: NewFace, position: int, warning: str
    ) -> Enrolment | None:
        """Store the face, unless the gallery changed after `position`: then return None."""
        with self._database.writing() as session:
            if latest_change(session) != position:
                return None
            encoder = self._pipeline.encoder
            encoder_id = faces.encoder_id(
                session, encoder.name, encoder.weights_sha256, encoder.network.traits.spec
            )
            record = identities.find(session, name)
            identity_id = identities.add(session, name) if record is None else record.id
            face_id = faces.add(session, identity_id, photo, new, encoder_id)
            if new.kept_image is not None:
                kept_images.save(session, face_id, new.kept_image)
            if self._thumbnails:
                kept_images.add_thumbnail(session, face_id, thumbnail(photo, new.face))
            recalled.forget_photo(session, identity_id, photo.sha256)
            audit.record(session, "enrol", identity_id=identity_id)
            face_count = identities.get(session, identity_id).faces
        identity = IdentityRef(identity_id, name)
        state = "new identity" if record is None else f"now {face_count} photos"
        reason = f"enrolled as {name} ({state}){warning}"
        return Enrolment(photo.source, EnrolOutcome.ENROLLED, identity, face_id, reason)


def _is_near(first: str | None, second: str | None) -> bool:
    """Whether two perceptual hashes differ in few bits."""
    if first is None or second is None:
        return False
    return (int(first, 16) ^ int(second, 16)).bit_count() <= NEAR_BITS


def _reason(error: PhotoError, label: str) -> str:
    """The error's message without the label of the photo, which the enrolment has already."""
    return str(error).removeprefix(f"{label} ")


def _refused(
    photo: str, reason: str, refusal: Refusal, rivals: tuple[IdentityRef, ...] = ()
) -> Enrolment:
    return Enrolment(photo, EnrolOutcome.REFUSED, None, None, reason, refusal, rivals)
