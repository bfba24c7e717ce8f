"""The head in a gallery's home: which projection a new one keeps, and when it may be replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from gallery.config import REENCODE_LOCK
from gallery.encoders.built_in import TRAITS
from gallery.encoders.projection import Projection
from gallery.encoders.protocol import Traits
from gallery.errors import DatabaseBusy, EncoderChanged, HeadUnusable
from gallery.matching.head import Head, load_head
from gallery.matching.head_files import head_in_home, projections
from gallery.training.workflow import GalleryLike
from gallery.types import DIMENSION


def projection_to_keep(
    gallery: GalleryLike, traits: Traits, *, at_home: bool, force: bool
) -> Projection | None:
    """Return the existing projection that the new head must use, or None to learn a new one.

    The projection of enrolled encodings is always kept. So is that of the head in the home, unless
    the new head goes elsewhere or is forced: with one projection the two heads can be compared.
    A shipped one is always kept: galleries everywhere have encodings made with it.
    """
    used = gallery.projection_in_use(traits)
    if used is not None:
        return used
    if traits.name not in TRAITS and (not at_home or force):
        return None
    settings = gallery.settings.model_copy(update={"head": None})
    return next(iter(projections(settings, traits)), None)


def head_to_replace(gallery: GalleryLike, traits: Traits, encoder_sha256: str) -> Head | None:
    """Return the head that a new one in the home would replace; None if it is of another encoder.

    encoder_sha256 : of the network with the new head's projection.
    """
    try:
        file = head_in_home(gallery.settings, traits)
        return load_head(file, traits.name, encoder_sha256, traits.spec)
    except HeadUnusable:
        return None


@contextmanager
def replacing_home_head(
    gallery: GalleryLike, traits: Traits, projection: Projection | None
) -> Iterator[None]:
    """While in the block, a head with this projection may replace the one in the home.

    Raises EncoderChanged if enrolled encodings need another projection by now, and DatabaseBusy
    while the gallery is being re-encoded, because then they may need one soon.
    """
    if traits.dimension <= DIMENSION:
        yield
        return
    settings = gallery.settings
    lock = FileLock(settings.home / REENCODE_LOCK, timeout=settings.busy_timeout, mode=0o600)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise DatabaseBusy(
            f"{settings.home} is being re-encoded by another process, which may need the present"
            " head; wait until it is done, or write the new head elsewhere with --out"
        ) from error
    with held, gallery.database.writing():  # no enrolment in the meantime
        used = gallery.projection_in_use(traits)
        if used is not None and (projection is None or used.sha256 != projection.sha256):
            raise EncoderChanged(
                f"during training, faces were enrolled in {settings.home} with another projection"
                f" of {traits.spec}, which the new head would overwrite; train again, which keeps"
                " that projection, or write the new head elsewhere with --out"
            )
        yield
