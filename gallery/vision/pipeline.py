"""Steps 1 to 3 of a query: decode a photo, find its faces, encode them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gallery.dates import checked_date
from gallery.encoders.encoder import Encoder
from gallery.encoders.protocol import Views
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
from gallery.vision.photo_source import (
    PhotoSource,
    content_in_memory,
    source_name,
)

if TYPE_CHECKING:
    from gallery.vision.photo_processes import PhotoProcesses

_Result = TypeVar("_Result")


class FacePipeline:
    """Decode, detect, align and encode, one photo at a time: same photo, same result.

    views : how many are averaged for a probe and for an enrolled face.
    processes : that photos are read in, if not in this one; see gallery.vision.photo_processes.
    """

    def __init__(
        self,
        reader: PhotoReader,
        detector: FaceDetector,
        encoder: Encoder,
        *,
        max_faces: int,
        views: Views,
    ) -> None:
        self.views = views
        self.encoder = encoder
        self.reader = reader
        self._detector = detector
        self._max_faces = max_faces
        self.processes: PhotoProcesses | None = None

    @property
    def fingerprint(self) -> str:
        """Everything that the encodings of a photo depend on, except the number of views."""
        traits = self.encoder.network.traits
        return (
            f"{traits.name} {traits.sha256} {self.reader.working_side}"
            f" {self._detector.min_face} {self._detector.min_probability}"
        )

    def apply(
        self, function: Callable[[FacePipeline, PhotoSource], _Result], photo: PhotoSource
    ) -> _Result:
        """The function of this pipeline and a photo: in another process, if it has been given any.

        function : must be picklable, as must be its result, and a photo that is not a file.
        Raises what the function raises; PhotoLost and EncoderChanged as PhotoProcesses does.
        """
        if self.processes is None:
            return function(self, photo)
        return self.processes.apply(function, photo, self)

    def open(self, source: PhotoSource, taken: str | None = None) -> Photo:
        """Decode a photo.

        taken : when it was taken, see gallery.dates; None for what its EXIF data say.
        Raises PhotoUnreadable, PhotoTooLarge, PhotoUndecodable or DateInvalid.
        """
        date = None if taken is None else checked_date(taken)
        with stage("decode"):
            photo = self.reader.decode(self.content(source), source=source_name(source))
        return photo if date is None else replace(photo, taken=date)

    def content(self, source: PhotoSource) -> bytes:
        """The file's bytes. Raises PhotoUnreadable, PhotoTooLarge or PhotoUndecodable."""
        reader = self.reader
        if isinstance(source, str | os.PathLike):
            return reader.content(source)
        return content_in_memory(source, max_bytes=reader.max_bytes, max_pixels=reader.max_pixels)

    def faces(self, photo: Photo) -> list[Face]:
        """Every usable face, largest first. Raises TooManyFaces."""
        with stage("detect"):
            faces = self._detector.find(photo)
        if len(faces) > self._max_faces:
            raise TooManyFaces(
                f"{photo.source} has {len(faces)} faces, more than the limit of {self._max_faces};"
                " crop it, or raise GALLERY_MAX_FACES"
            )
        return faces

    def no_face(self, photo: Photo) -> str:
        """Say what a photo without faces has none of."""
        upright = self._detector.min_face
        otherwise = self._detector.min_side_of_second_look(photo)
        reason = f"no face of at least {upright} pixels"
        if otherwise > upright:
            reason += (
                f" (on its side or in poor light: {otherwise} pixels; crop the photo to find"
                " smaller ones)"
            )
        if self._detector.is_incomplete:
            reason += " (the second detector's weights are unusable: see `gallery check`)"
        return reason

    def load_second_detector(self) -> None:
        """Load now what only a photo without a face needs, if its weights are there."""
        _ = self._detector.is_incomplete

    def one_face(self, photo: Photo, several: Several) -> Face:
        """Detect the photo's only face, or pick one of several by the given rule.

        Raises NoFaceFound or SeveralFacesFound.
        """
        return self.pick(photo, self.faces(photo), several)

    def pick(self, photo: Photo, faces: Sequence[Face], several: Several) -> Face:
        """Pick from faces already detected, largest first. Raises as one_face does."""
        if not faces:
            raise NoFaceFound(
                f"{photo.source} has {self.no_face(photo)}; use a larger or clearer photo"
            )
        face = several.pick(photo, faces)
        if face is None:
            raise SeveralFacesFound(
                f"{photo.source} has {len(faces)} faces, expected one; crop it, or ask for the"
                " largest"
            )
        return face

    def encode(self, photo: Photo, faces: Sequence[Face], views: int) -> Encodings:
        """Encode n faces of one photo, each as the mean of its first `views` views.

        Raises FaceUnencodable when the encoder returns no usable encoding for one of them.
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
