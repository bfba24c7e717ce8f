"""Whose photos each folder holds, by the folder's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gallery.errors import NameAmbiguous
from gallery.names import folded
from gallery.store import identities, recalled
from gallery.store.database import Database, Session


@dataclass(frozen=True)
class NamedFolder:
    """A folder, and the person whose photos it holds.

    name : of the identity, or of the one that is to be made.
    note : says so if the folder is called otherwise.
    is_former : the name is one that the identity had before: the photos must show whether it is
        meant.
    problem : why the folder cannot be enrolled, if it cannot.
    """

    name: str
    photos: Sequence[Path]
    note: str = ""
    is_former: bool = False
    problem: NameAmbiguous | None = None


def named_folders(
    database: Database, photos: Mapping[str, Sequence[Path]], *, new: bool
) -> list[NamedFolder]:
    """Find the person of each folder, in order.

    photos : by the folder's name.
    new : take every name as it is. Otherwise an exact name goes first, then a near one (see
        gallery.names.folded), then a former one, then that of an earlier folder.
    """
    if new:
        return [NamedFolder(name, paths) for name, paths in photos.items()]
    folders: list[NamedFolder] = []
    first: dict[str, str] = {}
    with database.reading() as session:
        former = _former_names(session, photos)
        for name, paths in photos.items():
            try:
                record = identities.meant(session, name)
            except NameAmbiguous as error:
                folders.append(NamedFolder(name, paths, problem=error))
                continue
            is_former = record is None and name in former
            if is_former:
                person, note = former[name], f"{name!r} is a former name of {former[name]!r}"
            else:
                person = first.setdefault(folded(name), name) if record is None else record.name
                note = f"{name!r} is taken to be {person!r}"
            note = "" if person == name else f"{note}; use new if it is another person"
            folders.append(NamedFolder(person, paths, note, is_former))
    return folders


def _former_names(session: Session, names: Mapping[str, object]) -> dict[str, str]:
    """The present name of the identity that had each of these names."""
    ids = recalled.holders(session, names)
    return {name: identities.get(session, holder).name for name, holder in ids.items()}
