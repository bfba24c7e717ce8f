"""Where head files are: one per network in the gallery's home, and the shipped one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from gallery.config import Settings
from gallery.encoders.built_in import DLIB_TRAITS, TRAITS
from gallery.encoders.encoder import Encoder, encoder_sha256
from gallery.encoders.projection import Projection
from gallery.encoders.protocol import Network, Traits
from gallery.errors import HeadUnusable
from gallery.matching.head import head_network_sha256, load_projection
from gallery.package_data import HEAD_FILE, shipped_file
from gallery.types import DIMENSION


def head_stem(traits: Traits) -> str:
    """Return the name, without suffix, of the files of a network's head in a gallery's home."""
    stem = HEAD_FILE.partition(".")[0]
    is_dlib = traits.name == DLIB_TRAITS.name  # the first encoder that there was
    return stem if is_dlib else f"{stem}-{traits.name}-{traits.sha256[:12]}"


def find_head(settings: Settings, traits: Traits) -> Path:
    """Return the head file named in the settings, else the one in the home, else the shipped one.

    A named head for another network is skipped: it belongs to the previous or the next encoder.
    Raises HeadUnusable when there is none, with the command that makes one.
    """
    named = settings.head
    if named is not None and head_network_sha256(named) in (None, traits.sha256):
        return named  # if it is not a head, reading it says why
    try:
        return head_in_home(settings, traits)
    except HeadUnusable as error:
        if named is None:
            raise
        raise HeadUnusable(
            f"{named} (GALLERY_HEAD) was made for another encoder than {traits.spec}, and"
            f" {settings.home} has none either: {error}"
        ) from error


def head_in_home(settings: Settings, traits: Traits) -> Path:
    """Return what `find_head` does, ignoring the head named in the settings."""
    file = settings.home / f"{head_stem(traits)}.safetensors"
    if file.exists():
        return file
    if traits.name in TRAITS:
        return shipped_file(f"{traits.name}/{HEAD_FILE}")
    raise HeadUnusable(
        f"{traits.spec} has no head yet, and queries need one; train it on a folder with one"
        f" subfolder per person: `gallery train-head --encoder {traits.spec} PEOPLE_FOLDER`"
    )


def projections(settings: Settings, traits: Traits) -> list[Projection]:
    """Return the network's projections: the home's, that of the head named in the settings, and the
    shipped one.
    """
    projections = []
    shipped = shipped_file(f"{traits.name}/{HEAD_FILE}") if traits.name in TRAITS else None
    for file in (settings.home / f"{head_stem(traits)}.safetensors", settings.head, shipped):
        with contextlib.suppress(HeadUnusable):
            if file is not None:
                projections.append(load_projection(file, traits.sha256, traits.spec))
    return projections


def built_in_sha256(settings: Settings, traits: Traits) -> str:
    """Return the Encoder.weights_sha256 of a built-in encoder, without loading its network.

    Raises HeadUnusable.
    """
    if traits.dimension <= DIMENSION:
        return traits.sha256
    projection = load_projection(find_head(settings, traits), traits.sha256, traits.spec)
    return encoder_sha256(traits.sha256, projection)


def encoder_with_projection(network: Network, head: Path) -> Encoder:
    """Return the network as an encoder, with the projection from its head's file if it needs one.

    Raises HeadUnusable.
    """
    traits = network.traits
    if traits.dimension <= DIMENSION:
        return Encoder(network)
    return Encoder(network, load_projection(head, traits.sha256, traits.spec))
