"""Another encoder for a gallery: its pipeline, the switch, and the way back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gallery.config import REENCODE_LOCK
from gallery.encoders.registry import Spec, read_spec
from gallery.errors import CannotReencode
from gallery.factory import build_pipeline, build_reader, build_workers
from gallery.gallery.base import OpenGallery
from gallery.progress import StepProgress, no_step_progress
from gallery.store import audit, encoders, kept_images, reencoding
from gallery.store.encoders import EncoderRecord, EncoderState
from gallery.types import AnyPath

if TYPE_CHECKING:
    from gallery.admin.reencoding import ReencodingResult
    from gallery.encoders.projection import Projection
    from gallery.encoders.protocol import Traits
    from gallery.reencode import Reencoder
    from gallery.vision.pipeline import FacePipeline


class Reencoding(OpenGallery):
    """Changing the encoder of a gallery."""

    def projection_in_use(self, traits: Traits) -> Projection | None:
        """Return this network's projection that encodings of the gallery were made with, if any.

        The one in the gallery's home goes first, since a new one would be written there.
        """
        from gallery.encoders.encoder import encoder_sha256
        from gallery.matching.head_files import projections

        with self.database.reading() as session:
            stored = {record.weights_sha256 for record in encoders.with_encodings(session)}
        for projection in projections(self.settings, traits):
            if encoder_sha256(traits.sha256, projection) in stored:
                return projection
        return None

    def encoder_pipeline(self, spec: Spec) -> FacePipeline:
        """Build the pipeline of another encoder than the gallery's, which must have a head.

        Raises WeightsError or HeadUnusable.
        """
        from gallery.matching.head import load_head
        from gallery.matching.head_files import find_head

        pipeline = build_pipeline(self.settings, spec)
        traits, encoder = pipeline.encoder.network.traits, pipeline.encoder
        head = find_head(self.settings, traits)
        load_head(head, encoder.name, encoder.weights_sha256, traits.spec)
        return pipeline

    def encoder_record(self, pipeline: FacePipeline) -> EncoderRecord:
        """Return the gallery's record of this pipeline's encoder; add one if there is none."""
        traits, encoder = pipeline.encoder.network.traits, pipeline.encoder
        with self.database.writing() as session:
            return encoders.get_or_add(session, encoder.name, encoder.weights_sha256, traits.spec)

    def recorded_pipeline(self, record: EncoderRecord) -> FacePipeline:
        """Build the pipeline of exactly this encoder.

        Raises CannotReencode when another encoder opens in its place; else as encoder_pipeline.
        """
        from gallery.reencode import require_encoder

        pipeline = self.encoder_pipeline(read_spec(record.spec or record.name))
        require_encoder(pipeline, record)
        return pipeline

    def reencode(
        self,
        encoder: str,
        *,
        photos: AnyPath | None = None,
        leave_missing: bool = False,
        progress: StepProgress = no_step_progress,
    ) -> ReencodingResult:
        """Encode every face with another encoder and switch to it. See gallery.admin.reencoding.

        encoder : as GALLERY_ENCODER, such as "onnx:model.onnx".
        photos : a folder to search for photos that the gallery has not kept.
        leave_missing : leave faces without a picture enrolled, but out of every search.
        progress : called with the step, and how many of how many are done.
        Raises CannotReencode, DatabaseBusy, EncoderChanged, WeightsError or HeadUnusable.
        """
        from gallery.admin.reencoding import reencode_gallery, reencoding_lock

        with reencoding_lock(self.settings.home / REENCODE_LOCK):
            pipeline = self.encoder_pipeline(read_spec(encoder))
            return reencode_gallery(
                self.reencoder(self.encoder_record(pipeline), photos),
                lambda: pipeline,
                self.switched,
                leave_missing=leave_missing,
                progress=progress,
            )

    def reencoder(self, record: EncoderRecord, photos: AnyPath | None = None) -> Reencoder:
        """Return what encodes this gallery's faces with that encoder. See gallery.reencode."""
        from gallery.reencode import Reencoder

        folder = None if photos is None else Path(photos)
        reader, workers = build_reader(self.settings), partial(build_workers, self.settings)
        return Reencoder(self.database, reader, record, folder, workers)

    def previous_encoder(self) -> EncoderRecord:
        """Return the encoder that there is a way back to. Raises CannotReencode."""
        with self.database.reading() as session:
            record = encoders.in_state(session, EncoderState.PREVIOUS)
        if record is None:
            raise CannotReencode("no encodings of an earlier encoder are kept to go back to")
        return record

    def switched(self) -> None:
        """Build the index of the encoder that is in use now."""
        self._runtime.parts().index.rebuild()

    def finish_reencoding(self) -> int:
        """Erase the previous encoder's encodings and those of an unfinished re-encoding.

        Returns how many there were.
        """
        with self.database.writing() as session:
            dropped = reencoding.finish(session)
            audit.record(session, "re-encode finished")
        self._finish_erasing()
        return dropped

    def drop_pictures(self) -> int:
        """Erase the images kept to encode faces again. Returns of how many faces."""
        with self.database.writing() as session:
            dropped = kept_images.drop_all(session)
            audit.record(session, "drop pictures")
        self._finish_erasing()
        return dropped
