"""What a folder that is enrolled again is recognised by: former names, and erased photos.

Rows go with their identity. A name is a former one, also of an identity merged into this one. A
photo of which a face was erased is kept as a keyed hash, which only its file leads to.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gallery.store.tables import MarkRow, RecalledRow

_NAME, _PHOTO = "name", "photo"
_KEY = "photo key"

Item = tuple[str, str]
"""Kind and value of a row."""


def name_item(name: str) -> Item:
    """Return the item of a former name."""
    return _NAME, name


def names(session: Session, identity_id: int) -> list[str]:
    """Return the former names of an identity, sorted."""
    return sorted(value for kind, value in items(session, identity_id) if kind == _NAME)


def holders(session: Session, names: Iterable[str]) -> dict[str, int]:
    """Return the id of the one identity that had each of these names; not if several had it."""
    holders: dict[str, set[int]] = {}
    wanted = set(names)
    rows = session.scalars(select(RecalledRow).where(RecalledRow.kind == _NAME))
    for row in rows:
        if row.value in wanted:
            holders.setdefault(row.value, set()).add(row.identity_id)
    return {name: ids.pop() for name, ids in holders.items() if len(ids) == 1}


def add_photo(session: Session, identity_id: int, sha256: str) -> None:
    """Remember that a face of this photo was erased."""
    if session.get(MarkRow, _KEY) is None:
        session.add(MarkRow(name=_KEY, value=secrets.token_hex(32)))
        session.flush()
    digest = _digest(session, sha256)
    assert digest is not None
    add(session, identity_id, [(_PHOTO, digest)])


def is_photo_erased(session: Session, identity_id: int, sha256: str) -> bool:
    """Whether a face of this photo was erased from the identity."""
    digest = _digest(session, sha256)
    return (
        digest is not None and session.get(RecalledRow, (identity_id, _PHOTO, digest)) is not None
    )


def forget_photo(session: Session, identity_id: int, sha256: str) -> None:
    """Forget that a face of this photo was erased: it is enrolled again."""
    digest = _digest(session, sha256)
    if digest is not None:
        remove(session, identity_id, [(_PHOTO, digest)])


def items(session: Session, identity_id: int) -> list[Item]:
    """Return everything that is recalled of an identity."""
    query = select(RecalledRow).where(RecalledRow.identity_id == identity_id)
    return [(row.kind, row.value) for row in session.scalars(query)]


def add(session: Session, identity_id: int, items: Iterable[Item]) -> list[Item]:
    """Remember more of an identity; return what was not recalled before."""
    new = [
        (kind, value)
        for kind, value in dict.fromkeys(map(tuple, items))
        if session.get(RecalledRow, (identity_id, kind, value)) is None
    ]
    session.add_all(RecalledRow(identity_id=identity_id, kind=k, value=v) for k, v in new)
    session.flush()
    return new


def remove(session: Session, identity_id: int, items: Iterable[Item]) -> None:
    """Forget these of an identity."""
    row = RecalledRow
    for kind, value in items:
        session.execute(
            delete(row).where(row.identity_id == identity_id, row.kind == kind, row.value == value)
        )


def _digest(session: Session, sha256: str) -> str | None:
    """HMAC-SHA256 of a file's hash, hexadecimal, with a key that never leaves the database."""
    key = session.get(MarkRow, _KEY)
    if key is None:
        return None
    return hmac.new(bytes.fromhex(key.value), sha256.encode(), "sha256").hexdigest()
