"""Exit statuses of the commands."""

from __future__ import annotations

FOUND, NONE, ERROR = 0, 1, 2
"""A match (or success), no match, an error."""
INTERRUPTED = 130
