"""Step 3 of the walk: aligned chips become 128-D encodings of unit length."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import torch

from gallery.encoders.projection import Projection, padded
from gallery.encoders.protocol import Network
from gallery.encoders.template import Template
from gallery.errors import InvalidEncoding, SettingInvalid
from gallery.types import DIMENSION, Encodings, Float32, UInt8


class Encoder:
    """A network, and the projection to 128 numbers where the network gives more.

    Without a projection such a network can be learned from, and nothing can be enrolled.

    name, weights_sha256 : stored beside every encoding; encodings of two encoders never meet.
    template : the chip it wants.
    """

    def __init__(self, network: Network, projection: Projection | None = None) -> None:
        traits = network.traits
        if projection is not None and len(projection.matrix) != traits.dimension:
            raise InvalidEncoding(
                f"a projection of {len(projection.matrix)} numbers for a network of"
                f" {traits.dimension}"
            )
        self.network = network
        self.projection = projection
        self.name = traits.name
        self.weights_sha256 = encoder_sha256(traits.sha256, projection)

    @property
    def template(self) -> Template:
        return self.network.traits.template

    def raw(self, chips: UInt8) -> Float32:
        """What the network gives, one row a chip: uint8 (n, height, width, 3) -> float32 (n, d)."""
        return self.network.raw(chips)

    def encode(self, views: UInt8) -> Encodings:
        """Encodings of n faces, the mean of each face's views: uint8 (n, v, height, width, 3)."""
        if views.ndim != 5 or views.shape[1] == 0:
            raise InvalidEncoding(
                f"views of shape {views.shape}, expected (n, v, height, width, 3)"
            )
        faces, count = views.shape[:2]
        raw = self.raw(views.reshape(-1, *views.shape[2:]))
        return self.stored(fuse(raw.reshape(faces, count, raw.shape[1])))  # (n, v, d)

    def stored(self, native: Encodings) -> Encodings:
        """The network's own fused encodings, (n, d), as they are stored and compared, (n, 128)."""
        if self.projection is not None:
            return self.projection.apply(native)
        dimension = native.vectors.shape[1]
        if dimension > DIMENSION:
            raise InvalidEncoding(
                f"encodings of {dimension} numbers need a projection; train a head"
            )
        return native if dimension == DIMENSION else padded(native)


def encoder_sha256(network_sha256: str, projection: Projection | None) -> str:
    """Of everything that an encoder's encodings depend on, hexadecimal."""
    if projection is None:
        return network_sha256
    return hashlib.sha256(f"{network_sha256} {projection.sha256}".encode()).hexdigest()


def fuse(raw: Float32) -> Encodings:
    """Views to encodings: each view to unit length, their mean to unit length again.

    raw : float32 (n, v, d) as the network gives them.
    Raises InvalidEncoding for what is not finite or has no direction.
    """
    norms = np.linalg.norm(raw, axis=2)  # (n, v)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (raw / norms[:, :, None]).mean(axis=1)  # (n, d)
        agreement = np.linalg.norm(mean, axis=1)
        vectors = mean / agreement[:, None]
    if not np.isfinite(vectors).all():
        raise InvalidEncoding("an encoding is not finite or has length zero; use another photo")
    return Encodings(
        vectors=vectors.astype(np.float32),
        norms=norms.mean(axis=1).astype(np.float32),
        agreement=agreement.astype(np.float32),
    )


def pick_device(setting: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The torch device of a setting. Raises SettingInvalid for one this machine does not have."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if setting == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[setting]:
        raise SettingInvalid(
            f"device = {setting!r}, but torch finds none here; use cpu (GALLERY_DEVICE)"
        )
    return torch.device(setting)
