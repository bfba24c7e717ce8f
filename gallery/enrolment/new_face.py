"""Read a photo of a known person: the face to enrol, and what is stored with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gallery.dedupe.image_similarity import grey_jpeg, perceptual_hashes
from gallery.store.records import NewFace
from gallery.timing import stage
from gallery.types import Encodings, Face, Photo, Several
from gallery.vision import crops
from gallery.vision.photo_source import PhotoSource, source_name
from gallery.vision.pipeline import FacePipeline


@dataclass(frozen=True)
class ReadPhoto:
    """A photo whose faces were found and encoded before it is enrolled.

    photo : without its pixels; None if it must be decoded again.
    sha256 : of the photo's file.  encoder : SHA-256 of the encoder's weights.
    faces : the largest first.  encodings : a row for each, of an enrolled face's views.
    picture_hash : see gallery.store.records.FaceRecord.
    own : which of the faces is the person's; None if that is not known.
    """

    photo: Photo | None
    sha256: str
    picture_hash: str
    encoder: str
    faces: tuple[Face, ...]
    encodings: Encodings
    own: int | None = None


def read_new_face(
    pipeline: FacePipeline,
    source: PhotoSource,
    *,
    known: ReadPhoto | None,
    several: Several,
    taken: str | None,
    views: int,
    keep: crops.Keep,
    thumbnail: bool,
) -> tuple[Photo, NewFace]:
    """The photo, without its pixels, and its face.

    known : its faces, if they were found and encoded before.
    several : which face to take when the photo has more than one and none is known to be the one.
    taken : as in gallery.store.records.NewFace.
    views : how many views of a face are averaged into its encoding.
    keep : what is kept of the photo.  thumbnail : whether one of the face is.
    Raises PhotoError, also for a photo without a usable face or with several.
    """
    content = pipeline.content(source)
    photo = None if known is None else known.photo
    if photo is None or thumbnail or keep != "nothing":
        with stage("decode"):
            photo = pipeline.reader.decode(content, source_name(source))
    if taken is not None:
        photo = replace(photo, taken=taken)
    if known is None:
        found = tuple(pipeline.faces(photo))
        face = pipeline.pick(photo, found, several)
        encoding = pipeline.encode(photo, [face], views)
        picture_hash = _picture_hash(photo)
    else:
        found, own = known.faces, known.own
        if own is None:
            picked = pipeline.pick(photo, found, several)
            own = next(i for i, face in enumerate(found) if face is picked)
        face, encoding = found[own], known.encodings.row(own)
        picture_hash = known.picture_hash
    new = NewFace(
        face,
        encoding,
        views,
        crops.picture_to_keep(keep, photo, face, content, len(found)),
        taken,
        picture_hash,
        crops.thumbnail(photo, face) if thumbnail else None,
    )
    return photo.without_pixels(), new


def _picture_hash(photo: Photo) -> str:
    whole: bytes = perceptual_hashes(grey_jpeg(photo))[0].tobytes()
    return whole.hex()
