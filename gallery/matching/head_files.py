"""Which file is an encoder's head: one a network in the gallery's home, and the shipped one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from gallery.config import Settings
from gallery.encoders.encoder import Encoder
from gallery.encoders.projection import Projection
from gallery.encoders.protocol import Network, Traits
from gallery.encoders.registry import DEFAULT
from gallery.errors import HeadUnusable
from gallery.matching.head import load_projection, network_of
from gallery.package_data import HEAD_FILE, shipped_file
from gallery.types import DIMENSION


def home_stem(traits: Traits) -> str:
    """What the files of this network's head are called in a gallery's home, without an ending."""
    stem = HEAD_FILE.partition(".")[0]
    return stem if traits.name == DEFAULT else f"{stem}-{traits.name}-{traits.sha256[:12]}"


def find_head(settings: Settings, traits: Traits) -> Path:
    """The head that the settings name, else the home's own, else the shipped one.

    One that the settings name for another network is passed over: it is there for the encoder that
    was in use, or will be. Raises HeadUnusable when there is none, with the command that makes one.
    """
    named = settings.head
    if named is not None and network_of(named) in (None, traits.sha256):
        return named  # whoever reads it says what is wrong with it
    try:
        return head_at_home(settings, traits)
    except HeadUnusable as error:
        if named is None:
            raise
        raise HeadUnusable(
            f"{named} (GALLERY_HEAD) was made for another encoder than {traits.spec}, and in"
            f" {settings.home} {error}"
        ) from error


def head_at_home(settings: Settings, traits: Traits) -> Path:
    """As find_head, whatever the settings name."""
    own = settings.home / f"{home_stem(traits)}.safetensors"
    if own.exists():
        return own
    if traits.name == DEFAULT:
        return shipped_file(HEAD_FILE)
    raise HeadUnusable(
        f"there is no head for {traits.spec} yet, and without one nothing is decided; make one from"
        " a folder of people, a folder each, with `gallery train-head --encoder"
        f" {traits.spec} PEOPLE_FOLDER`"
    )


def projections(settings: Settings, traits: Traits) -> list[Projection]:
    """This network's: the home's, then that of the head that the settings name."""
    found = []
    for file in (settings.home / f"{home_stem(traits)}.safetensors", settings.head):
        with contextlib.suppress(HeadUnusable):
            if file is not None:
                found.append(load_projection(file, traits.sha256, traits.spec))
    return found


def fitted_out(network: Network, head: Path) -> Encoder:
    """The network with the projection that lies with its head, if it needs one.

    Raises HeadUnusable.
    """
    traits = network.traits
    if traits.dimension <= DIMENSION:
        return Encoder(network)
    return Encoder(network, load_projection(head, traits.sha256, traits.spec))
