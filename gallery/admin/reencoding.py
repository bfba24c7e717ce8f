"""Re-encode a whole gallery: find pictures, encode, switch to the new encoder.

`gallery.reencode.Reencoder` does each step; this is their order, and what happens when some faces
cannot be encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from gallery.errors import DatabaseBusy
from gallery.progress import StepProgress, no_step_progress
from gallery.reencode import Reencoder, ReencodingPlan, cannot_reencode
from gallery.store.reencoding import FaceToEncode
from gallery.vision.pipeline import FacePipeline


@dataclass(frozen=True)
class ReencodingResult:
    """The state of a gallery after its encoder was switched.

    faces : all of them.  encoded : those that the new encoder has encoded.
    unencoded : ids of the others: enrolled, but in no search.
    missing : of these, the faces enrolled during the run without a picture to encode from.
    failed : face id to whose face it is and why it could not be encoded.
    """

    faces: int
    encoded: int
    unencoded: tuple[int, ...]
    missing: tuple[FaceToEncode, ...]
    failed: dict[int, str]


def reencode_gallery(
    reencoder: Reencoder,
    pipeline: Callable[[], FacePipeline],
    rebuild_index: Callable[[], None],
    *,
    leave_missing: bool = False,
    confirm: Callable[[ReencodingPlan], None] = lambda _plan: None,
    progress: StepProgress = no_step_progress,
) -> ReencodingResult:
    """Encode every face with another encoder, then let that encoder answer queries.

    Going back to an earlier encoder is the same, with that encoder's record: what it has encoded
    before is not encoded again. Hold `reencoding_lock` meanwhile.

    reencoder : of the gallery, to the new encoder; see Gallery.reencoder.
    pipeline : returns the pipeline of the new encoder; called only if there is a face to encode.
    rebuild_index : builds the index of the new encoder; Gallery.switched.
    leave_missing : faces that cannot be encoded stay enrolled, but are in no search.
    confirm : called before anything is changed when faces have no picture to encode from; raise an
        error in it to stop.

    Raises CannotReencode if faces cannot be encoded and leave_missing is not set, EncoderChanged if
    the new encoder is already in use, PhotoUnreadable if the folder of photos cannot be read.

    Example::

        with Gallery.open(home) as gallery, reencoding_lock(gallery.settings.home / REENCODE_LOCK):
            pipeline = gallery.encoder_pipeline(read_spec("onnx:model.onnx"))
            reencoder = gallery.reencoder(gallery.encoder_record(pipeline))
            result = reencode_gallery(reencoder, lambda: pipeline, gallery.switched)
    """
    reencoder.hash_photos(partial(progress, "looking for photos"))
    plan = reencoder.plan()
    if plan.missing:
        confirm(plan)
        if not leave_missing:
            raise cannot_reencode(plan)
    if plan.encodable:
        pipeline()  # an encoder that cannot be opened must fail before anything is changed
    reencoder.start()
    switched = False
    while not switched:  # faces may be enrolled while others are encoded
        reencoder.encode(pipeline, partial(progress, "encoding"))
        switched = reencoder.switch(leave_missing=leave_missing)
    rebuild_index()
    missing_before = {face.id for face in plan.missing}
    plan = reencoder.plan()  # faces may have been enrolled or erased during the run
    return ReencodingResult(
        faces=plan.faces,
        encoded=plan.encoded,
        unencoded=tuple(face.id for face in plan.remaining),
        missing=tuple(face for face in plan.missing if face.id not in missing_before),
        failed={face.id: reencoder.failures[face.id] for face in plan.failed},
    )


@contextmanager
def reencoding_lock(file: Path) -> Iterator[None]:
    """Keep other processes from changing the gallery's encoders. Raises DatabaseBusy."""
    lock = FileLock(file, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise DatabaseBusy(
            f"{file.parent} is being re-encoded by another process; wait until it has finished"
        ) from error
    try:
        yield
    finally:
        lock.release()
