"""Step 3 of a query: encode chips as 128 numbers, of unit length."""

from __future__ import annotations

import hashlib

import numpy as np

from gallery.encoders.projection import Projection, padded
from gallery.encoders.protocol import Network
from gallery.encoders.template import Template
from gallery.errors import InvalidEncoding
from gallery.types import DIMENSION, Encodings, Float32, UInt8


class Encoder:
    """A network, and a projection to 128 numbers if the network returns more.

    Without its projection, such a network can be used to train a head, but not to enrol.

    name, weights_sha256 : stored with each encoding; encodings of different encoders are never
        compared.
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
        """The chip that the network takes."""
        return self.network.traits.template

    def raw(self, chips: UInt8) -> Float32:
        """The network's output, one row a chip: uint8 (n, height, width, 3) -> float32 (n, d)."""
        return self.network.raw(chips)

    def encode(self, views: UInt8) -> Encodings:
        """Encode n faces, each as the mean of its v views: uint8 (n, v, height, width, 3)."""
        if views.ndim != 5 or views.shape[1] == 0:
            raise InvalidEncoding(
                f"views of shape {views.shape}, expected (n, v, height, width, 3)"
            )
        faces, count = views.shape[:2]
        raw = self.raw(views.reshape(-1, *views.shape[2:]))
        return self.to_stored(fuse(raw.reshape(faces, count, raw.shape[1])))  # (n, v, d)

    def to_stored(self, native: Encodings) -> Encodings:
        """Project or pad the network's fused encodings, (n, d), to the stored ones, (n, 128)."""
        if self.projection is not None:
            return self.projection.apply(native)
        dimension = native.vectors.shape[1]
        if dimension > DIMENSION:
            raise InvalidEncoding(
                f"encodings of {dimension} numbers need a projection; run `gallery train-head`"
            )
        return native if dimension == DIMENSION else padded(native)


def encoder_sha256(network_sha256: str, projection: Projection | None) -> str:
    """The hash of everything that an encoder's encodings depend on, hexadecimal."""
    if projection is None:
        return network_sha256
    return hashlib.sha256(f"{network_sha256} {projection.sha256}".encode()).hexdigest()


def fuse(raw: Float32) -> Encodings:
    """Fuse views to encodings: scale each view to unit length, average, scale again.

    raw : float32 (n, v, d), the network's output.
    Raises InvalidEncoding when a result is not finite or has length zero.
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
