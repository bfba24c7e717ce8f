"""A photo of a known person becomes an enrolled face: one database transaction, then the index."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from gallery.errors import NoFaceFound, PhotoError, SeveralFacesFound
from gallery.identify import Identifier
from gallery.matching.lookalikes import unlike
from gallery.matching.scorer import Scorer
from gallery.names import checked_name
from gallery.store import audit, faces, identities, kept_images
from gallery.store.change_log import latest_change
from gallery.store.database import Database
from gallery.store.records import NewFace
from gallery.timing import stage
from gallery.types import Enrolment, EnrolOutcome, IdentityRef, Photo, Refusal, Several, Verdict
from gallery.vision.crops import Keep, picture_of, thumbnail
from gallery.vision.pipeline import FacePipeline, PhotoSource, named


class Enroller:
    """Stores faces.

    views : how many views of an enrolled face are averaged.  pictures : keep thumbnails too.
    keep : what is kept to encode the face again.
    """

    def __init__(
        self,
        eye: FacePipeline,
        identifier: Identifier,
        judge: Scorer,
        database: Database,
        *,
        views: int,
        pictures: bool = False,
        keep: Keep = "nothing",
    ) -> None:
        self._eye = eye
        self._identifier = identifier
        self._judge = judge
        self._database = database
        self._views = views
        self._pictures = pictures
        self._keep = keep

    def enroll(
        self,
        name: str,
        source: PhotoSource,
        *,
        several: Several = Several.REFUSE,
        force: bool = False,
    ) -> Enrolment:
        """Enrol one photo. When this returns "enrolled", it is on the disk.

        several : which of several faces to take, instead of refusing.
        force : enrol although the face matches another identity.
        Raises InvalidName and HomeError; what is wrong with the photo is an outcome.
        """
        name = checked_name(name)
        shown = named(source)
        try:
            return self._enroll(name, source, shown, several=several, force=force)
        except NoFaceFound as refusal:
            return _refused(shown, str(refusal), Refusal.NO_FACE)
        except SeveralFacesFound as refusal:
            return _refused(shown, str(refusal), Refusal.SEVERAL_FACES)
        except PhotoError as error:
            reason = str(error).removeprefix(f"{shown} ")
            return Enrolment(shown, EnrolOutcome.ERROR, None, None, reason)

    def _enroll(
        self, name: str, source: PhotoSource, shown: str, *, several: Several, force: bool
    ) -> Enrolment:
        content = self._eye.content(source)
        already = self._already(name, hashlib.sha256(content).hexdigest(), shown)
        if already is not None:
            return already
        with stage("decode"):
            photo = self._eye.reader.decode(content, shown)
        found = self._eye.faces(photo)
        face = self._eye.pick(photo, found, several)
        kept = picture_of(self._keep, photo, face, content, len(found))
        new = NewFace(face, self._eye.encode(photo, [face], self._views), self._views, kept)
        while True:
            already = self._already(name, photo.sha256, shown)
            if already is not None:  # another process may have enrolled it meanwhile
                return already
            with self._database.reading() as session:
                position = latest_change(session)
            result = self._judged(name, photo, new, position, force=force)
            if result is not None:
                return result

    def _judged(
        self, name: str, photo: Photo, new: NewFace, position: int, *, force: bool
    ) -> Enrolment | None:
        """None when someone else wrote after `position`: the face must be judged again."""
        decision = self._identifier.decide(photo, new.face, new.encodings)
        rivals = [
            c for c in decision.candidates if c.verdict is Verdict.SAME and c.identity.name != name
        ]
        they = ", ".join(f"{c.identity.name} ({c.probability:.0%}, by {c.photo})" for c in rivals)
        refs = tuple(c.identity for c in rivals)
        if rivals and not force:
            reason = f"it matches {they}; it can be enrolled as {name} by force all the same"
            return _refused(photo.source, reason, Refusal.MATCHES_ANOTHER, refs)
        warning = f"; warning: it matches {they}" if rivals else ""
        done = self._commit(name, photo, new, position, warning + self._unlike(name, new))
        return None if done is None else replace(done, rivals=refs)

    def _unlike(self, name: str, new: NewFace) -> str:
        with self._database.reading() as session:
            record = identities.find(session, name)
            others = None if record is None else faces.encodings_of(session, [record.id]).encodings
        if others is None or not unlike(self._judge, new.encodings, others):
            return ""
        those = "the other one" if len(others) == 1 else f"the other {len(others)}"
        return f"; warning: this photo does not look like {those} of {name}"

    def _already(self, name: str, sha256: str, shown: str) -> Enrolment | None:
        with self._database.reading() as session:
            record = identities.find(session, name)
            face_id = None if record is None else faces.face_of(session, record.id, sha256)
        if record is None or face_id is None:
            return None
        reason = f"this photo is enrolled for {record.name} already; nothing was changed"
        return Enrolment(shown, EnrolOutcome.ALREADY, record.ref, face_id, reason)

    def _commit(
        self, name: str, photo: Photo, new: NewFace, position: int, warning: str
    ) -> Enrolment | None:
        with self._database.writing() as session:
            if latest_change(session) != position:
                return None
            seeing = self._eye.encoder
            encoder = faces.encoder_id(
                session, seeing.name, seeing.weights_sha256, seeing.network.traits.spec
            )
            record = identities.find(session, name)
            identity_id = identities.add(session, name) if record is None else record.id
            face_id = faces.add(session, identity_id, photo, new, encoder)
            if new.picture is not None:
                kept_images.keep(session, face_id, new.picture)
            if self._pictures:
                kept_images.add_thumbnail(session, face_id, thumbnail(photo, new.face))
            audit.record(session, "enrol", identity_id=identity_id)
            now = identities.get(session, identity_id).faces
        ref = IdentityRef(identity_id, name)
        kind = "new identity" if record is None else f"{now} photos now"
        return Enrolment(
            photo.source,
            EnrolOutcome.ENROLLED,
            ref,
            face_id,
            f"enrolled as {name} ({kind}){warning}",
        )


def _refused(
    photo: str, reason: str, refusal: Refusal, rivals: tuple[IdentityRef, ...] = ()
) -> Enrolment:
    reason = reason.removeprefix(f"{photo} ")
    return Enrolment(photo, EnrolOutcome.REFUSED, None, None, reason, refusal, rivals)
