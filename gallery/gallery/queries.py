"""Queries: whose face is in a photo, and comparing two photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gallery.dates import checked_date
from gallery.encoders.registry import read_spec
from gallery.errors import PhotoError, SettingInvalid
from gallery.factory import build_workers
from gallery.gallery.base import OpenGallery
from gallery.types import Comparison, Decision, PhotoAnswer, Several

if TYPE_CHECKING:
    from gallery.identify import Probe
    from gallery.runtime import Parts
    from gallery.vision.photo_source import PhotoSource


class Queries(OpenGallery):
    """What can be asked of a photo."""

    def query(
        self,
        photo: PhotoSource,
        *,
        several: Several | str = Several.REFUSE,
        taken: str | None = None,
    ) -> Decision:
        """Decide whose face is in a photo: exactly one known identity, or none.

        photo : a path, a file's bytes, a file opened with mode "rb", a PIL image, or an array:
            uint8, (H, W, 3), RGB, upright.
        several : what to do with a photo of several faces: a Several, or its value.
        taken : when the photo was taken, as in `enroll`.
        Raises PhotoError, DateInvalid or SettingInvalid. A photo without a face is a decision, not
        an error.

        >>> gallery.query("unknown.jpg").identity.name
        'Grace Hopper'
        """
        rule = Several.of(several)
        (decision,) = self._runtime.steady(
            lambda p: p.identifier.get().query(photo, several=rule, taken=taken)
        )
        return decision

    def query_all(self, photo: PhotoSource, *, taken: str | None = None) -> list[Decision]:
        """Decide for each face of a photo, largest first. An identity has at most one face.

        taken : when the photo was taken, as in `enroll`.
        Raises PhotoError or DateInvalid.

        >>> [decision.outcome.value for decision in gallery.query_all("unknown.jpg")]
        ['match']
        """
        return self._runtime.steady(
            lambda p: p.identifier.get().query(photo, several=None, taken=taken)
        )

    def query_many(
        self,
        photos: Iterable[PhotoSource],
        *,
        several: Several | str = Several.REFUSE,
        all_faces: bool = False,
        taken: str | None = None,
    ) -> Iterator[PhotoAnswer]:
        """Query many photos, by several processes; yields their answers in order.

        photos : as in `query`; a bounded number is taken ahead.
        several, taken : as in `query`, for every photo.
        all_faces : decide for each face of a photo, as in `query_all`.
        A photo that cannot be read, or that hangs or ends the process that reads it, has an error
        in its answer. Raises DateInvalid or SettingInvalid.

        >>> [len(answer.decisions) for answer in gallery.query_many(["a.jpg", "b.jpg"])]
        [1, 1]
        """
        from gallery.identify import read_probes
        from gallery.vision.photo_source import source_name

        rule = None if all_faces else Several.of(several)
        if taken is not None:
            checked_date(taken)  # before anything is read
        if isinstance(photos, str | bytes | os.PathLike):
            raise SettingInvalid(
                f"photos = {photos!r} is one path, expected several photos; give a list"
            )
        pipeline = self.pipeline
        workers = build_workers(self.settings, read_spec(pipeline.encoder.network.traits.spec))
        views = pipeline.views.probe
        probes = read_probes(photos, pipeline, workers, views=views, several=rule, taken=taken)
        for photo, probe in probes:
            decisions: tuple[Decision, ...] = ()
            error = probe if isinstance(probe, str) else None
            if not isinstance(probe, str):
                try:
                    decisions = self._decide(photo, probe, rule)
                except PhotoError as reason:  # read again, by another encoder
                    error = str(reason)
            yield PhotoAnswer(source_name(photo), decisions, error)

    def _decide(
        self, photo: PhotoSource, probe: Probe, rule: Several | None
    ) -> tuple[Decision, ...]:
        """The decisions on a photo that was read, perhaps with an encoder of before."""

        def decide(parts: Parts) -> list[Decision]:
            identifier = parts.identifier.get()
            if probe.encoder == parts.pipeline.get().encoder.weights_sha256:
                return identifier.decide_on(probe)
            return identifier.query(photo, several=rule, taken=probe.photo.taken)

        return tuple(self._runtime.steady(decide))

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several | str = Several.REFUSE
    ) -> Comparison:
        """Compare two photos: the same person or not. Raises PhotoError or SettingInvalid.

        >>> gallery.compare("grace.jpg", "unknown.jpg").same
        1
        """
        rule = Several.of(several)
        return self._runtime.steady(lambda p: p.comparer.get().compare(first, second, several=rule))
