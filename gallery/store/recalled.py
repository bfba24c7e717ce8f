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

from gallery.batching import batched
from gallery.names import folded
from gallery.store.tables import IDS_PER_QUERY, IdentityRow, MarkRow, RecalledRow

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
    """Return the id of the one identity that had each of these names; not if several had it.

    A near name (see gallery.names.folded) is as good where nobody had exactly this one, and nobody
    has a near one now.
    """
    wanted = {name: folded(name) for name in names}
    exact: dict[str, set[int]] = {}
    near: dict[str, set[int]] = {}
    for batch in batched(set(wanted.values()), IDS_PER_QUERY):
        for row in session.scalars(select(RecalledRow).where(RecalledRow.folded_name.in_(batch))):
            exact.setdefault(row.value, set()).add(row.identity_id)
            near.setdefault(folded(row.value), set()).add(row.identity_id)
        present = IdentityRow.folded_name
        for name in session.scalars(select(present).where(present.in_(batch))):
            near.pop(name, None)
    found = {name: exact.get(name) or near.get(key, set()) for name, key in wanted.items()}
    return {name: next(iter(ids)) for name, ids in found.items() if len(ids) == 1}


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
    session.add_all(
        RecalledRow(
            identity_id=identity_id,
            kind=kind,
            value=value,
            folded_name=folded(value) if kind == _NAME else None,
        )
        for kind, value in new
    )
    session.flush()
    return new


def remove(session: Session, identity_id: int, items: Iterable[Item]) -> None:
    """Forget these of an identity."""
    row = RecalledRow
    for kind, value in items:
        session.execute(
            delete(row).where(row.identity_id == identity_id, row.kind == kind, row.value == value)
        )


def changes(
    session: Session, identity_id: int, before: Iterable[Item]
) -> tuple[list[Item], list[Item]]:
    """Return the photos that were erased from an identity since, and what was forgotten since.

    before : its items then.
    """
    then = {(kind, value) for kind, value in before}
    now = set(items(session, identity_id))
    return [(kind, value) for kind, value in now - then if kind == _PHOTO], list(then - now)


def _digest(session: Session, sha256: str) -> str | None:
    """HMAC-SHA256 of a file's hash, hexadecimal, with a key that never leaves the database."""
    key = session.get(MarkRow, _KEY)
    if key is None:
        return None
    return hmac.new(bytes.fromhex(key.value), sha256.encode(), "sha256").hexdigest()
