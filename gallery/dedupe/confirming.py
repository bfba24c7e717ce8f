"""Copies in a gallery, confirmed on the photos where these are still where they were."""

from __future__ import annotations

from dataclasses import replace

from gallery.dedupe.duplicate_photos import shown_twice
from gallery.dedupe.reports import GalleryReport
from gallery.errors import PhotoError
from gallery.store.records import FaceRecord
from gallery.types import Photo
from gallery.vision.photo import PhotoReader

_EVEN = 0.5


def confirmed(report: GalleryReport, reader: PhotoReader) -> GalleryReport:
    """Without faces that are only nearly one picture, as far as the photos are still where they
    were enrolled from: two photos of one sitting have near encodings too.
    """
    kept = []
    for found in report.same_faces:
        photos = [_still_there(face, reader) for face in found.faces]
        first, second = photos
        if (
            first is None
            or second is None
            or first.sha256 == second.sha256
            or shown_twice(first, second) > _EVEN
        ):
            kept.append(found)
    return replace(report, same_faces=tuple(kept))


def _still_there(face: FaceRecord, reader: PhotoReader) -> Photo | None:
    try:
        photo = reader.read(face.photo)
    except PhotoError:
        return None
    return photo if photo.sha256 == face.photo_sha256 else None
