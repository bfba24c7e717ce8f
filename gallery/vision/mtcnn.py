"""MTCNN's three networks (Zhang et al. 2016), with the weights that facenet-pytorch brings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gallery.encoders.weights import MTCNN_NETWORKS, WeightsSource
from gallery.networks.machine import Machine
from gallery.networks.model import Model, Runner, open_model
from gallery.types import Float32

if TYPE_CHECKING:
    from torch import nn

_SHAPES: tuple[tuple[int | None, ...], ...] = (
    (None, 3, None, None),
    (None, 3, 24, 24),
    (None, 3, 48, 48),
)


@dataclass(frozen=True)
class Mtcnn:
    """The networks. Images are float32 (n, 3, h, w), 0 to 255."""

    proposing: Runner
    refining: Runner
    locating: Runner

    def propose(self, image: Float32) -> tuple[Float32, Float32]:
        """Offsets (4, h', w') and probabilities (h', w') of an image's windows of 12 pixels."""
        offsets, probabilities = self.proposing(_normal(image))
        return offsets[0], probabilities[0, 1]

    def refine(self, crops: Float32) -> tuple[Float32, Float32]:
        """Offsets (n, 4) and probabilities (n,) of crops of 24 pixels."""
        offsets, probabilities = self.refining(_normal(crops))
        return offsets, probabilities[:, 1]

    def locate(self, crops: Float32) -> tuple[Float32, Float32, Float32]:
        """Offsets (n, 4), landmarks (n, 5, 2) and probabilities (n,) of crops of 48 pixels.

        Landmarks are shares of the crop's sides.
        """
        offsets, points, probabilities = self.locating(_normal(crops))
        return offsets, points.reshape(-1, 2, 5).transpose(0, 2, 1), probabilities[:, 1]


def open_mtcnn(machine: Machine) -> Mtcnn:
    """Load the networks. Raises WeightsMissing, WeightsMismatch or WeightsUnreadable."""
    return Mtcnn(
        *(
            open_model(Model(source.name, source.sha256, partial(_module, source), shape), machine)
            for source, shape in zip(MTCNN_NETWORKS, _SHAPES, strict=True)
        )
    )


def _module(source: WeightsSource) -> nn.Module:
    source.read()  # verifies the checksum; the module opens the same file itself
    from facenet_pytorch.models import mtcnn

    kinds = {"mtcnn-pnet": mtcnn.PNet, "mtcnn-rnet": mtcnn.RNet, "mtcnn-onet": mtcnn.ONet}
    module: nn.Module = kinds[source.name]()
    return module


def _normal(images: Float32) -> Float32:
    """As the networks were trained."""
    return (images - np.float32(127.5)) * np.float32(0.0078125)
