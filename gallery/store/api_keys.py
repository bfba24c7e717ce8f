"""API keys. A secret is shown once; only its SHA-256 is stored.

A secret is 256 random bits, too many to guess, so a plain hash is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gallery.errors import KeyNotFound
from gallery.names import checked_name
from gallery.store.records import KeyRecord
from gallery.store.tables import KeyRow

_PREFIX = "gallery"


class Scope(StrEnum):
    """What a key permits."""

    QUERY = "query"  # query and compare
    ENROL = "enrol"  # list and change identities
    METRICS = "metrics"  # read the Prometheus metrics
    ADMIN = "admin"  # everything


def create(
    session: Session, label: str, scopes: Sequence[str], per_minute: int
) -> tuple[KeyRecord, str]:
    """Create a key.

    per_minute : allowed requests per minute.
    Returns the record and the key itself, which cannot be shown again. Raises InvalidName.
    """
    secret = secrets.token_urlsafe(32)
    row = KeyRow(
        id=secrets.token_hex(4),
        label=checked_name(label),
        secret_sha256=_hashed(secret),
        scopes=sorted(set(scopes)),
        per_minute=per_minute,
    )
    session.add(row)
    session.flush()
    return _record(row), f"{_PREFIX}_{row.id}_{secret}"


def list_all(session: Session) -> list[KeyRecord]:
    """Return every key, also revoked ones, oldest first."""
    return [_record(row) for row in session.scalars(select(KeyRow).order_by(KeyRow.created_at))]


def revoke(session: Session, key_id: str) -> KeyRecord:
    """Revoke a key. Raises KeyNotFound."""
    row = session.get(KeyRow, key_id)
    if row is None:
        raise KeyNotFound(f"there is no key {key_id!r}; `gallery keys list` lists them")
    row.revoked_at = row.revoked_at or datetime.now(UTC)
    session.flush()
    return _record(row)


def drop_all(session: Session) -> int:
    """Delete every key, active or revoked; return how many."""
    return session.execute(delete(KeyRow)).rowcount  # type: ignore[attr-defined, no-any-return]


def matching_key(keys: Sequence[KeyRecord], text: str) -> KeyRecord | None:
    """Return the key that `text` belongs to, comparing in constant time."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    hashed = _hashed(secret)
    match = None
    for key in keys:
        same = hmac.compare_digest(key.secret_sha256, hashed)
        if same and hmac.compare_digest(key.id.encode(), key_id.encode()):
            match = key
    return match if prefix == _PREFIX else None


def active_keys(session: Session) -> list[KeyRecord]:
    """Return every key that is not revoked."""
    return [
        _record(row) for row in session.scalars(select(KeyRow).where(KeyRow.revoked_at.is_(None)))
    ]


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _record(row: KeyRow) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        label=row.label,
        scopes=tuple(row.scopes),
        per_minute=row.per_minute,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        secret_sha256=row.secret_sha256,
    )
