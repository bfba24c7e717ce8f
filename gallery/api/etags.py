"""ETags and conditional requests (RFC 9110, section 13)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

_TAG = re.compile(r'(W/)?("[^"]*")')


def etag(content: bytes | dict[str, Any]) -> str:
    """Return a strong ETag of the content."""
    if isinstance(content, dict):
        content = json.dumps(content, sort_keys=True).encode()
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def none_match_fails(if_none_match: str | None, current: str) -> bool:
    """Whether If-None-Match lists the current ETag, so that the answer is 304.

    The comparison is weak: a proxy that compresses makes ETags weak.
    """
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or current in {t for _, t in _TAG.findall(if_none_match)}


def match_holds(if_match: str | None, current: str) -> bool:
    """Whether If-Match lists the current ETag (strong comparison) or is absent; else 412."""
    if if_match is None or if_match.strip() == "*":
        return True
    return current in {t for weak, t in _TAG.findall(if_match) if not weak}
