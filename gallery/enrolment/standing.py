"""What the gallery has of a person and a photo before the photo is enrolled."""

from __future__ import annotations

from dataclasses import dataclass

from gallery.errors import NameAmbiguous
from gallery.store import faces, identities, recalled
from gallery.store.change_log import latest_change
from gallery.store.database import Database, Session
from gallery.store.records import IdentityRecord
from gallery.types import Enrolment, EnrolOutcome


@dataclass(frozen=True)
class Standing:
    """As of one position of the change log.

    name, new : as the user gave them.
    person : the exact name.  identity : the person's, if they are enrolled.
    enrolled : the enrolment of this photo for this person, if there is one.
    was_erased : whether a face from this file was erased from this person.
    """

    position: int
    name: str
    new: bool
    person: str
    identity: IdentityRecord | None
    enrolled: Enrolment | None
    was_erased: bool

    def holds(self, session: Session) -> bool:
        """Whether the faces are the same as then, and the name means the same person.

        Raises NameAmbiguous if the name may mean several by now.
        """
        if latest_change(session) != self.position:
            return False
        record = _person(session, self.name, new=self.new)
        before = None if self.identity is None else self.identity.ref
        return (None if record is None else record.ref) == before


def standing_of(database: Database, name: str, sha256: str, label: str, *, new: bool) -> Standing:
    """Look up what the gallery has.

    sha256 : of the photo's file.  label : the photo's name.  new : a near name is another person's.
    Raises NameAmbiguous.
    """
    with database.reading() as session:
        position = latest_change(session)
        record = _person(session, name, new=new)
        if record is None:
            return Standing(position, name, new, name, None, None, was_erased=False)
        face_id = faces.face_id_of(session, record.id, sha256)
        was_erased = recalled.is_photo_erased(session, record.id, sha256)
    enrolled = None
    if face_id is not None:
        reason = f"this photo is already enrolled for {record.name}; nothing was changed"
        enrolled = Enrolment(label, EnrolOutcome.ALREADY, record.ref, face_id, reason)
    return Standing(position, name, new, record.name, record, enrolled, was_erased)


def _person(session: Session, name: str, *, new: bool) -> IdentityRecord | None:
    """Return the identity of the person that a name means. Raises NameAmbiguous."""
    if new:
        return identities.find(session, name)
    try:
        return identities.meant(session, name)
    except NameAmbiguous as error:
        raise NameAmbiguous(f"{error}, or use new to enrol another person") from error
