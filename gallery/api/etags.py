"""ETags: of what, and whether a request's conditions hold (RFC 9110, section 13)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

_TAG = re.compile(r'(W/)?("[^"]*")')


def tag(shown: bytes | dict[str, Any]) -> str:
    """A strong one."""
    if isinstance(shown, dict):
        shown = json.dumps(shown, sort_keys=True).encode()
    return f'"{hashlib.sha256(shown).hexdigest()[:32]}"'


def known(if_none_match: str | None, now: str) -> bool:
    """Whether the client has this one; compared weakly, as a proxy that compresses needs it."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or now in {t for _, t in _TAG.findall(if_none_match)}


def unchanged(if_match: str | None, now: str) -> bool:
    """Whether it is still what the client saw; compared strongly."""
    if if_match is None or if_match.strip() == "*":
        return True
    return now in {t for weak, t in _TAG.findall(if_match) if not weak}
