"""Enrolment: a photo of a known person becomes an enrolled face, in one database transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from gallery.dates import checked_date
from gallery.errors import NameAmbiguous, NoFaceFound, PhotoError, SeveralFacesFound
from gallery.identify import Identifier
from gallery.matching.decision import CLEAR, matches
from gallery.matching.lookalikes import is_unlike
from gallery.matching.scorer import Scorer
from gallery.names import checked_name
from gallery.store import audit, faces, identities, kept_images, merges
from gallery.store.change_log import latest_change
from gallery.store.database import Database, Session
from gallery.store.records import NewFace
from gallery.timing import stage
from gallery.types import (
    Candidate,
    Enrolment,
    EnrolOutcome,
    IdentityRef,
    Photo,
    Refusal,
    Several,
)
from gallery.vision.crops import Keep, picture_to_keep, thumbnail
from gallery.vision.photo_source import PhotoSource, source_name
from gallery.vision.pipeline import FacePipeline


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
        distinct: bool = False,
        new: bool = False,
        taken: str | None = None,
    ) -> Enrolment:
        """Enrol one photo. When this returns "enrolled", the face is on disk.

        If nobody has exactly this name, the only identity with a near name is meant (see
        gallery.names.folded), and the enrolment's notes say so.

        several : which face to take when the photo has more than one; by default, none.
        force : enrol even if the face matches another identity.
        distinct : also mark this person and those whom the face matches as different people.
        new : a near name is another person's.
        taken : when the photo was taken, see gallery.dates; None for what its EXIF data say.
        Raises InvalidName, NameAmbiguous if several names are near, DateInvalid and HomeError; a
        problem with the photo is an outcome.
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
                distinct=distinct,
                new=new,
                taken=date,
            )
        except NoFaceFound as error:
            return _refused(label, _reason(error, label), Refusal.NO_FACE)
        except SeveralFacesFound as error:
            return _refused(label, _reason(error, label), Refusal.SEVERAL_FACES)
        except PhotoError as error:
            return Enrolment(label, EnrolOutcome.ERROR, None, None, _reason(error, label))
        if enrolment.identity is not None and enrolment.identity.name != name:
            note = (
                f"{name!r} is taken to be {enrolment.identity.name!r}; use new if it is another"
                " person"
            )
            enrolment = replace(enrolment, notes=(note,))
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
        distinct: bool,
        new: bool,
        taken: str | None,
    ) -> Enrolment:
        content = self._pipeline.content(source)
        with self._database.reading() as session:
            person = _person(session, name, new=new)
        existing = self._existing(person, hashlib.sha256(content).hexdigest(), label)
        if existing is not None:
            return existing
        with stage("decode"):
            photo = self._pipeline.reader.decode(content, label)
        if taken is not None:
            photo = replace(photo, taken=taken)
        faces_found = self._pipeline.faces(photo)
        face = self._pipeline.pick(photo, faces_found, several)
        picture = picture_to_keep(self._keep, photo, face, content, len(faces_found))
        encoding = self._pipeline.encode(photo, [face], self._views)
        new_face = NewFace(face, encoding, self._views, picture, taken)
        while True:
            # Another process may have enrolled it, or somebody of a near name, meanwhile.
            with self._database.reading() as session:
                position = latest_change(session)
                person = _person(session, name, new=new)
            existing = self._existing(person, photo.sha256, label)
            if existing is not None:
                return existing
            enrolment = self._enroll_unless_rivals(
                person, photo, new_face, position, force=force, distinct=distinct
            )
            if enrolment is not None:
                return enrolment

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
        self, name: str, photo: Photo, new: NewFace, position: int, *, force: bool, distinct: bool
    ) -> Enrolment | None:
        """Enrol the face, or refuse it because it matches other identities.

        Returns None if the gallery changed after `position`: the face must be scored again.
        """
        decision = self._identifier.decide_face(photo, new.face, new.encodings)
        rivals = self._rivals(name, matches(decision.candidates))
        rival_refs = tuple(c.identity for c in rivals)
        # The page parses "(90%, by " (api/page/elements.js) and "; warning: " (enroll.js).
        names = ", ".join(f"{c.identity.name} ({c.probability:.0%}, by {c.photo})" for c in rivals)
        if rivals and not (force or distinct):
            reason = (
                f"it matches {names}; if {name} is somebody else, enrol it as distinct, or use"
                " force to enrol it anyway"
            )
            return _refused(photo.source, reason, Refusal.MATCHES_ANOTHER, rival_refs)
        note = ""
        if rivals:
            note = f"; told apart from {names}" if distinct else f"; warning: it matches {names}"
        note += self._unlike_warning(name, new)
        note += f"; warning: {photo.note}" if photo.note else ""
        others = [ref.id for ref in rival_refs] if distinct else []
        enrolment = self._store(name, photo, new, position, note, others)
        return None if enrolment is None else replace(enrolment, rivals=rival_refs)

    def _rivals(self, name: str, matched: Sequence[Candidate]) -> list[Candidate]:
        """The other identities that the face may be of.

        Those who were told apart from this one are not, unless they are clearly the likelier.
        """
        own = next((c for c in matched if c.identity.name == name), None)
        others = [c for c in matched if c is not own]
        if own is None or not others:
            return others
        with self._database.reading() as session:
            told_apart = merges.distinct_from(session, own.identity.id)
        preference = self._scorer.operating_point().preference
        return [
            c
            for c in others
            if c.identity.id not in told_apart or preference(c.margin - own.margin) >= CLEAR
        ]

    def _unlike_warning(self, name: str, new: NewFace) -> str:
        with self._database.reading() as session:
            record = identities.find(session, name)
            others = None if record is None else faces.encodings_of(session, [record.id]).encodings
        if others is None or not is_unlike(self._scorer, new.encodings, others):
            return ""
        photos = "photo" if len(others) == 1 else f"{len(others)} photos"
        return f"; warning: this photo does not look like the other {photos} of {name}"

    def _store(
        self,
        name: str,
        photo: Photo,
        new: NewFace,
        position: int,
        note: str,
        told_apart: Sequence[int],
    ) -> Enrolment | None:
        """Store the face, unless the gallery changed after `position`: then return None.

        told_apart : ids of the identities that this one is marked as different from.
        """
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
            audit.record(session, "enrol", identity_id=identity_id)
            if told_apart:
                merges.keep_distinct(session, identity_id, told_apart)
                audit.record(session, "tell apart", identity_id=identity_id)
            face_count = identities.get(session, identity_id).faces
        identity = IdentityRef(identity_id, name)
        state = "new identity" if record is None else f"now {face_count} photos"
        reason = f"enrolled as {name} ({state}){note}"
        return Enrolment(photo.source, EnrolOutcome.ENROLLED, identity, face_id, reason)


def _person(session: Session, name: str, *, new: bool) -> str:
    """Return the exact name of the person that a name means. Raises NameAmbiguous."""
    if new:
        return name
    try:
        record = identities.meant(session, name)
    except NameAmbiguous as error:
        raise NameAmbiguous(f"{error}, or use new to enrol another person") from error
    return name if record is None else record.name


def _reason(error: PhotoError, label: str) -> str:
    """The error's message without the label of the photo, which the enrolment has already."""
    return str(error).removeprefix(f"{label} ")


def _refused(
    photo: str, reason: str, refusal: Refusal, rivals: tuple[IdentityRef, ...] = ()
) -> Enrolment:
    return Enrolment(photo, EnrolOutcome.REFUSED, None, None, reason, refusal, rivals)
