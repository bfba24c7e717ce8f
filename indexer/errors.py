"""Errors of this package.

VectorIndexError
├── InvalidVectors     rows with a wrong shape or dtype, or with values that are not finite
├── DuplicateId        an id that is already stored, given twice in one call, or negative
├── SnapshotUnusable   a file that is missing, truncated, altered, or in another form
└── UnknownEngine      no engine has that name
"""

from __future__ import annotations


class VectorIndexError(Exception):
    """Base of all errors of this package."""


class InvalidVectors(VectorIndexError):
    """Rows with a wrong shape or dtype, or with values that are not finite."""


class DuplicateId(VectorIndexError):
    """An id that cannot be added."""


class SnapshotUnusable(VectorIndexError):
    """A saved index that cannot be loaded; build it again."""


class UnknownEngine(VectorIndexError):
    """No engine has that name."""
