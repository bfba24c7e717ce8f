"""Steps 1 to 3 of the walk in one: a photo in, its faces and their encodings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.encoders.encoder import Encoder
from gallery.errors import (
    FaceUnencodable,
    InvalidEncoding,
    NoFaceFound,
    SeveralFacesFound,
    TooManyFaces,
)
from gallery.timing import stage
from gallery.types import Encodings, Face, Photo, Several
from gallery.vision.detection import VIEWS, FaceDetector, align
from gallery.vision.photo import PhotoReader


@dataclass(frozen=True)
class Upload:
    """A file's bytes and what it is called; printed as that."""

    content: bytes
    name: str

    def __str__(self) -> str:
        return self.name


PhotoSource = str | Path | bytes | Upload
"""A file, or a file's bytes."""


def named(source: PhotoSource) -> str:
    """What a photo is called."""
    return "(bytes)" if isinstance(source, bytes) else str(source)


class FacePipeline:
    """Decodes, finds, aligns and encodes, always one photo at a time: same photo, same answer."""

    def __init__(
        self, reader: PhotoReader, finder: FaceDetector, encoder: Encoder, *, max_faces: int
    ) -> None:
        self.encoder = encoder
        self.reader = reader
        self._finder = finder
        self._max_faces = max_faces

    @property
    def min_face(self) -> int:
        """Smaller faces, in pixels after shrinking, are not used."""
        return self._finder.min_face

    @property
    def sees(self) -> str:
        """Everything that a network's answers to a photo may differ by, but the number of views."""
        traits = self.encoder.network.traits
        return (
            f"{traits.name} {traits.sha256} {self.reader.working_side}"
            f" {self._finder.min_face} {self._finder.min_probability}"
        )

    def open(self, source: PhotoSource) -> Photo:
        """Decode. Raises PhotoUnreadable, PhotoTooLarge or PhotoUndecodable."""
        with stage("decode"):
            return self.reader.decode(self.content(source), source=named(source))

    def content(self, source: PhotoSource) -> bytes:
        """The file's bytes. Raises PhotoUnreadable or PhotoTooLarge."""
        if isinstance(source, Upload):
            return source.content
        return source if isinstance(source, bytes) else self.reader.content(source)

    def faces(self, photo: Photo) -> list[Face]:
        """Every usable face, largest first. Raises TooManyFaces."""
        with stage("detect"):
            found = self._finder.find(photo)
        if len(found) > self._max_faces:
            raise TooManyFaces(
                f"{photo.source} has {len(found)} faces, more than the limit of {self._max_faces};"
                " cut it into parts, or raise GALLERY_MAX_FACES"
            )
        return found

    def one_face(self, photo: Photo, several: Several) -> Face:
        """The photo's one face, or that of several which is to be taken.

        Raises NoFaceFound or SeveralFacesFound.
        """
        return self.pick(photo, self.faces(photo), several)

    def pick(self, photo: Photo, faces: Sequence[Face], several: Several) -> Face:
        """As one_face, of the photo's faces, largest first."""
        if not faces:
            raise NoFaceFound(
                f"{photo.source} has no face of at least {self._finder.min_face} pixels;"
                " use a larger or clearer photo"
            )
        face = several.pick(photo, faces)
        if face is None:
            raise SeveralFacesFound(
                f"{photo.source} has {len(faces)} faces, expected one; crop it, or ask for the"
                " largest"
            )
        return face

    def encode(self, photo: Photo, faces: Sequence[Face], views: int) -> Encodings:
        """Encodings of n faces of one photo, each the mean of this many views.

        Raises FaceUnencodable when the encoder gives nothing usable for one of them.
        """
        if not faces:
            return Encodings.none()
        with stage("encode"):
            chips = [
                align(photo, face.landmarks, VIEWS[:views], self.encoder.template) for face in faces
            ]
            try:
                return self.encoder.encode(np.stack(chips))
            except InvalidEncoding as error:
                raise FaceUnencodable(
                    f"{photo.source} has a face that {self.encoder.network.traits.spec} cannot"
                    f" encode: {error}"
                ) from error
