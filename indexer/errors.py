"""Errors of the index.

VectorIndexError
├── InvalidVectors     wrong shape or type, or not finite
├── DuplicateId        an id that is stored already, or twice in one call, or negative
├── SnapshotUnusable   a file that is missing, cut short, altered, or of another form
└── UnknownEngine      no engine of that name
"""

from __future__ import annotations


class VectorIndexError(Exception):
    """Base of all errors of this package."""


class InvalidVectors(VectorIndexError):
    """Rows of the wrong shape or type, or with values that are not finite."""


class DuplicateId(VectorIndexError):
    """An id that cannot be added."""


class SnapshotUnusable(VectorIndexError):
    """A saved index that cannot be loaded; build it again."""


class UnknownEngine(VectorIndexError):
    """No engine of that name."""
