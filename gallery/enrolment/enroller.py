"""Enrolment: a photo of a known person becomes an enrolled face, in one database transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from gallery.dates import checked_date
from gallery.enrolment.new_face import ReadPhoto, read_new_face
from gallery.enrolment.rivals import rivals_of
from gallery.enrolment.seen_before import same_picture
from gallery.enrolment.standing import Standing, standing_of
from gallery.errors import NameAmbiguous, NoFaceFound, PhotoError, SeveralFacesFound
from gallery.identify import Identifier
from gallery.matching.lookalikes import is_unlike
from gallery.matching.photo_quality import Signs, judged, limits_for
from gallery.matching.scorer import Scorer
from gallery.names import checked_name, folded
from gallery.store import audit, faces, identities, kept_images, merges, recalled
from gallery.store.database import Database
from gallery.store.records import IdentityRecord, NewFace
from gallery.types import (
    Encodings,
    Enrolment,
    EnrolOutcome,
    Face,
    Fault,
    IdentityRef,
    Photo,
    Refusal,
    Several,
)
from gallery.vision.crops import Keep
from gallery.vision.photo_source import PhotoSource, Upload, source_name
from gallery.vision.pipeline import FacePipeline

_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class EnrolOptions:
    """What is enrolled, and what is refused.

    several : which face to take when the photo has more than one; by default, none.
    force : enrol even if the face matches another identity.
    distinct : as force, and mark this person and those whom the face matches as different people.
    new : a near name is another person's.
    strict : refuse a face that makes a poor example of its person, see gallery.types.Fault.
    again : the photo may have been enrolled before, under any name. Without force, a picture that
        is enrolled is left as it is, and one that was erased is refused.
    """

    several: Several = Several.REFUSE
    force: bool = False
    distinct: bool = False
    new: bool = False
    strict: bool = False
    again: bool = False


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
        options: EnrolOptions = EnrolOptions(),
        *,
        taken: str | None = None,
        read: ReadPhoto | None = None,
    ) -> Enrolment:
        """Enrol one photo. When this returns "enrolled", the face is on disk.

        If nobody has exactly this name, the only identity with a near name is meant (see
        gallery.names.folded), and the enrolment's notes say so.

        taken : when the photo was taken, see gallery.dates; None for what its EXIF data say.
        read : its faces, if they are known; ignored if the file or the encoder has changed.
        Raises InvalidName, NameAmbiguous if several names are near, DateInvalid and HomeError; a
        problem with the photo is an outcome.
        """
        name = checked_name(name)
        label = source_name(source)
        date = None if taken is None else checked_date(taken)
        try:
            enrolment = self._enroll(name, source, label, options, date, read)
        except NoFaceFound as error:
            return _refused(label, _reason(error, label), Refusal.NO_FACE)
        except SeveralFacesFound as error:
            return _refused(label, _reason(error, label), Refusal.SEVERAL_FACES)
        except PhotoError as error:
            return Enrolment(label, EnrolOutcome.ERROR, None, None, _reason(error, label))
        is_own = enrolment.identity is not None and folded(enrolment.identity.name) == folded(name)
        if date is not None and is_own and enrolment.outcome is EnrolOutcome.ALREADY:
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
        options: EnrolOptions,
        taken: str | None,
        read: ReadPhoto | None,
    ) -> Enrolment:
        content = self._pipeline.content(source)
        sha256 = hashlib.sha256(content).hexdigest()
        standing = standing_of(self._database, name, sha256, label, new=options.new)
        if standing.enrolled is not None:
            return _noted(standing.enrolled, name, standing.person)
        person = standing.person
        if standing.was_erased and options.again and not options.force:
            reason = f"this photo was erased from {person} before; use force to enrol it again"
            return _refused(label, reason, Refusal.FORGOTTEN)
        current = sha256, self._pipeline.encoder.weights_sha256
        if read is not None and (read.sha256, read.encoder) != current:
            read = None
        read_face = partial(
            read_new_face,
            known=read,
            several=options.several,
            taken=taken,
            views=self._views,
            keep=self._keep,
            thumbnail=self._thumbnails,
        )
        photo, new = self._pipeline.apply(read_face, Upload(content, label))
        faults, poor = self._faults(new.face, new.encodings)
        if faults and options.strict:
            return replace(
                _refused(label, f"the face is {poor}", Refusal.POOR_PHOTO), faults=faults
            )
        if read is None:  # reading it took long
            standing = standing_of(self._database, name, sha256, label, new=options.new)
        while True:
            warning = ""
            if standing.was_erased:
                warning = f"; warning: this photo was erased from {standing.person} before"
            if faults:
                warning += f"; warning: the face is {poor}, so it will find few other photos of"
                warning += f" {standing.person}{self._better_photos(standing.identity)}"
            enrolment = standing.enrolled or self._enroll_unless_rivals(
                standing, photo, new, options, warning
            )
            if enrolment is not None:
                return _noted(replace(enrolment, faults=faults), name, standing.person)
            # Another process may have enrolled it, or named somebody so, meanwhile.
            standing = standing_of(self._database, name, sha256, label, new=options.new)

    def _faults(self, face: Face, encoding: Encodings) -> tuple[tuple[Fault, ...], str]:
        """What makes the face a poor example, as faults and as text."""
        signs = Signs(face.sharpness, float(encoding.norms[0]), float(encoding.agreement[0]))
        limits = limits_for(self._pipeline.encoder.network.traits.name)
        faults = limits.faults(signs)
        return faults, limits.described(faults, signs)

    def _better_photos(self, identity: IdentityRecord | None) -> str:
        """The photos without faults that the identity has, to be said in a warning."""
        if identity is None:
            return ""
        with self._database.reading() as session:
            stored = faces.records(session, identity_id=identity.id)
            better = [face.photo for face in judged(session, stored) if not face.faults]
        if not better:
            return ""
        more = f" and {len(better) - _MOST_NAMED} more" if len(better) > _MOST_NAMED else ""
        return f"; better ones are {', '.join(better[:_MOST_NAMED])}{more}"

    def _enroll_unless_rivals(
        self,
        standing: Standing,
        photo: Photo,
        new: NewFace,
        options: EnrolOptions,
        warning: str,
    ) -> Enrolment | None:
        """Enrol the face, or refuse it because it matches other identities.

        Returns None if the gallery has changed since: the face must be scored again.
        """
        name = standing.person
        candidates = self._identifier.decide_face(photo, new.face, new.encodings).candidates
        if options.again and not options.force:
            copy = same_picture(
                self._database, photo.sha256, new.face.box, new.picture_hash, candidates
            )
            if copy is not None:
                reason = f"this picture is already enrolled, as {copy.identity.name}"
                return Enrolment(photo.source, EnrolOutcome.ALREADY, copy.identity, copy.id, reason)
        rivals, doubtful = rivals_of(name, candidates, new.encodings, self._scorer, self._database)
        rival_refs = tuple(c.identity for c in rivals)
        # The page parses "(90%, by " (api/page/elements.js) and "; warning: " (enroll.js).
        names = ", ".join(f"{c.identity.name} ({c.probability:.0%}, by {c.photo})" for c in rivals)
        if rivals and not (options.force or options.distinct):
            reason = (
                f"it matches {names}; if {name} is somebody else, enrol it as distinct, or use"
                " force to enrol it anyway"
            )
            return _refused(photo.source, reason, Refusal.MATCHES_ANOTHER, rival_refs)
        note = warning
        for rival in doubtful:
            note += (
                f"; warning: it also matches face {rival.face_id} of {rival.identity.name}, which"
                " does not look like that person's other faces"
            )
        if rivals:
            is_distinct = options.distinct
            note += (
                f"; told apart from {names}" if is_distinct else f"; warning: it matches {names}"
            )
        unlike_warning = self._unlike_warning(standing.identity, new)
        note += unlike_warning
        note += f"; warning: {photo.note}" if photo.note else ""
        others = [ref.id for ref in rival_refs] if options.distinct else []
        enrolment = self._store(standing, photo, new, note, others)
        if enrolment is None:
            return None
        return replace(enrolment, rivals=rival_refs, unlike=bool(unlike_warning))

    def _unlike_warning(self, identity: IdentityRecord | None, new: NewFace) -> str:
        if identity is None:
            return ""
        with self._database.reading() as session:
            others = faces.encodings_of(session, [identity.id]).encodings
        if not is_unlike(self._scorer, new.encodings, others):
            return ""
        photos = "photo" if len(others) == 1 else f"{len(others)} photos"
        return f"; warning: this photo does not look like the other {photos} of {identity.name}"

    def _store(
        self,
        standing: Standing,
        photo: Photo,
        new: NewFace,
        note: str,
        told_apart: Sequence[int],
    ) -> Enrolment | None:
        """Store the face, unless the standing has changed: then return None.

        told_apart : ids of the identities that this one is marked as different from.
        """
        name, record = standing.person, standing.identity
        with self._database.writing() as session:
            if not standing.holds(session):
                return None
            encoder = self._pipeline.encoder
            encoder_id = faces.encoder_id(
                session, encoder.name, encoder.weights_sha256, encoder.network.traits.spec
            )
            identity_id = identities.add(session, name) if record is None else record.id
            face_id = faces.add(session, identity_id, photo, new, encoder_id)
            if new.kept_image is not None:
                kept_images.save(session, face_id, new.kept_image)
            if new.thumbnail is not None:
                kept_images.add_thumbnail(session, face_id, new.thumbnail)
            recalled.forget_photo(session, identity_id, photo.sha256)
            audit.record(session, "enrol", identity_id=identity_id)
            if told_apart:
                merges.keep_distinct(session, identity_id, told_apart)
                audit.record(session, "tell apart", identity_id=identity_id)
            face_count = identities.get(session, identity_id).faces
        identity = IdentityRef(identity_id, name)
        state = "new identity" if record is None else f"now {face_count} photos"
        reason = f"enrolled as {name} ({state}){note}"
        return Enrolment(photo.source, EnrolOutcome.ENROLLED, identity, face_id, reason)


def refused_for_name(photo: str, error: NameAmbiguous) -> Enrolment:
    """Return the outcome of a photo whose name may be several people's, among photos of others."""
    return _refused(photo, str(error), Refusal.NAME_AMBIGUOUS)


def _noted(enrolment: Enrolment, name: str, person: str) -> Enrolment:
    """The enrolment, with a note if the name was taken to be another spelling."""
    if name == person:
        return enrolment
    note = f"{name!r} is taken to be {person!r}; use new if it is another person"
    return replace(enrolment, notes=(note,))


def _reason(error: PhotoError, label: str) -> str:
    """The error's message without the label of the photo, which the enrolment has already."""
    return str(error).removeprefix(f"{label} ")


def _refused(
    photo: str, reason: str, refusal: Refusal, rivals: tuple[IdentityRef, ...] = ()
) -> Enrolment:
    return Enrolment(photo, EnrolOutcome.REFUSED, None, None, reason, refusal, rivals)
