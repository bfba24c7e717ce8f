"""Problem types are part of the HTTP API: every error has one, and none ever changes."""

from __future__ import annotations

import inspect

from gallery import errors
from gallery.errors import GalleryError
from gallery.json_forms.problem_types import PREFIX, PROBLEM_TYPES, error_of

RELEASED = """
gallery-error
photo-error
photo-unreadable
photo-too-large
photo-undecodable
no-face-found
several-faces-found
too-many-faces
face-unencodable
invalid-name
details-invalid
identity-not-found
identity-exists
face-not-found
last-face
face-there
invalid-encoding
weights-error
weights-missing
weights-mismatch
weights-unreadable
head-unusable
home-error
home-unusable
database-newer
database-unusable
database-busy
encoder-changed
cannot-reencode
erasure-incomplete
search-failed
backup-unusable
export-unusable
no-photos
folder-forgotten
plan-unusable
plan-outdated
undo-impossible
no-people
training-data-too-small
training-interrupted
calibration-not-found
merge-empty
merge-not-found
merge-too-old
thumbnail-not-found
key-not-found
job-not-found
server-unreachable
server-refused
head-worse
protocol-unusable
setting-invalid
"""


def test_every_error_has_its_own_type() -> None:
    classes = {
        error_class
        for _, error_class in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error_class, GalleryError)
    }
    assert PROBLEM_TYPES.keys() == classes
    assert len(set(PROBLEM_TYPES.values())) == len(classes)


def test_released_types_remain() -> None:
    assert set(RELEASED.split()) <= set(PROBLEM_TYPES.values())


def test_client_maps_each_type_to_its_error() -> None:
    for error_class, name in PROBLEM_TYPES.items():
        assert error_of(f"{PREFIX}{name}") is error_class
    assert error_of(f"{PREFIX}rate-limited") is None
