"""Networks that run in torch, and dlib's face ResNet, the default encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gallery.encoders.dlib_resnet import DIMENSION, DlibResNet
from gallery.encoders.protocol import Traits, check_chips
from gallery.encoders.template import DLIB_150
from gallery.encoders.weights import DLIB_RESNET
from gallery.encoders.weights_cache import dlib_resnet_state
from gallery.types import Float32, UInt8

_BATCH = 64

DLIB_TRAITS = Traits(
    name=DLIB_RESNET.name,
    spec=DLIB_RESNET.name,
    sha256=DLIB_RESNET.sha256,
    template=DLIB_150,
    dimension=DIMENSION,
    licence_code="MIT (this program; the network is dlib's, Boost 1.0)",
    licence_weights=DLIB_RESNET.licence,
    accuracy="measured by us: data/results/pairs.json (LFW), blufr.json, promise.json",
)


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
    """Load the default network. Raises WeightsMissing, WeightsMismatch or WeightsUnreadable."""
    module = DlibResNet()
    state: dict[str, Tensor] = dlib_resnet_state(cache)
    module.load_state_dict(state)
    return TorchNetwork(module, DLIB_TRAITS, device)
