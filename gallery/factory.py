"""Photo readers and face pipelines, built from settings. Worker processes build their own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gallery.config import Settings
from gallery.encoders.registry import Spec, default_kind, read_spec

if TYPE_CHECKING:
    from gallery.vision.photo import PhotoReader
    from gallery.vision.pipeline import FacePipeline
    from gallery.vision.workers import Workers


def build_workers(
    settings: Settings, spec: Spec, *, native: bool = False, threads: int = 1
) -> Workers:
    """Return worker processes that each build this encoder's pipeline. They are not yet started.

    native : as in build_pipeline.
    threads : of each process; two processes of one thread are faster than one of two.
    """
    from gallery.vision.workers import Workers

    settings = settings.model_copy(update={"threads": threads})
    return Workers.of(settings, partial(build_pipeline, settings, spec, native=native))


def build_reader(settings: Settings) -> PhotoReader:
    """Build the photo reader of these settings."""
    from gallery.vision.photo import PhotoReader

    return PhotoReader(
        max_bytes=settings.max_photo_bytes,
        max_pixels=settings.max_photo_pixels,
        working_side=settings.working_side,
    )


def build_pipeline(
    settings: Settings, spec: Spec | None = None, *, native: bool = False
) -> FacePipeline:
    """Build the pipeline of these settings, photo to encodings.

    spec : the encoder; None for that of a new gallery.
    native : without a projection, as training a head and a projection needs it.
    Raises WeightsError or HeadUnusable.
    """
    from gallery.encoders.encoder import Encoder
    from gallery.encoders.protocol import Views
    from gallery.encoders.registry import open_network
    from gallery.matching.head_files import encoder_with_projection, find_head
    from gallery.networks.machine import machine_for
    from gallery.types import DIMENSION
    from gallery.vision.detection import FaceDetector
    from gallery.vision.pipeline import FacePipeline

    machine = machine_for(settings)
    detector = FaceDetector(
        min_face=settings.min_face,
        min_probability=settings.min_face_probability,
        machine=machine,
    )
    spec = spec or read_spec(default_kind(settings.cache))
    network = open_network(spec, machine)
    if native or network.traits.dimension <= DIMENSION:
        encoder = Encoder(network)
    else:
        encoder = encoder_with_projection(network, find_head(settings, network.traits))
    views = Views(
        probe=settings.views_query or network.traits.views.probe,
        enrolled=settings.views_enrolled or network.traits.views.enrolled,
    )
    return FacePipeline(
        build_reader(settings), detector, encoder, max_faces=settings.max_faces, views=views
    )
