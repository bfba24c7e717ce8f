"""MobileFaceNet as a plain torch module: (n, 3, 112, 112) chips -> (n, 512).

Source of the architecture: Chen et al., "MobileFaceNets" (2018), here with 1.2 million parameters.
Batch norms are folded into the convolutions, as in the ONNX file that the weights are read from.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from gallery.errors import WeightsUnreadable

CHIP_SIDE = 112
DIMENSION = 512
_MEAN, _SCALE = 127.0, 1.0 / 128.0
# (input, expanded and output channels, whether it halves the resolution) of each block, in order.
# The others add their input to their output.
_BLOCKS = (
    *[(64, 128, 64, True)],
    *[(64, 128, 64, False)] * 4,
    *[(64, 256, 128, True)],
    *[(128, 256, 128, False)] * 6,
    *[(128, 512, 128, True)],
    *[(128, 256, 128, False)] * 2,
)


def _activated(
    before: int, after: int, side: int, *, stride: int = 1, groups: int = 1
) -> nn.Module:
    """A convolution and a PReLU with one slope for each channel."""
    convolution = nn.Conv2d(before, after, side, stride=stride, padding=side // 2, groups=groups)
    return nn.Sequential(convolution, nn.PReLU(after))


class Bottleneck(nn.Module):
    """Expand, filter each channel by itself, and reduce. down : it halves the resolution."""

    def __init__(self, before: int, expanded: int, after: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.expand = _activated(before, expanded, 1)
        self.filter = _activated(expanded, expanded, 3, stride=2 if down else 1, groups=expanded)
        self.reduce = nn.Conv2d(expanded, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        reduced: Tensor = self.reduce(self.filter(self.expand(x)))
        return reduced if self.down else x + reduced


class MobileFaceNet(nn.Module):
    """Chips to encodings.

    forward(chips): float32 or uint8 (n, 3, 112, 112), RGB, 0 to 255 -> float32 (n, 512), not
    normalised; norms are near 3.6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_activated(3, 64, 3, stride=2), _activated(64, 64, 3, groups=64))
        self.blocks = nn.Sequential(*(Bottleneck(*block) for block in _BLOCKS))
        self.expand = _activated(128, 512, 1)
        self.pool = nn.Conv2d(512, 512, 7, groups=512)  # a weight for each place, in each channel
        self.head = nn.Conv2d(512, DIMENSION, 1)

    def forward(self, chips: Tensor) -> Tensor:
        x = (chips.to(self.pool.weight.dtype) - _MEAN) * _SCALE
        x = self.expand(self.blocks(self.stem(x)))
        encodings: Tensor = self.head(self.pool(x)).flatten(start_dim=1)
        return encodings


def state_of(content: bytes) -> dict[str, Tensor]:
    """The state dictionary of MobileFaceNet from the bytes of its ONNX file.

    The file's convolutions and PReLUs stand in the order of the module's.
    Raises WeightsUnreadable when they differ from this network's in number or size.
    """
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:  # protobuf's errors have no other common base
        raise WeightsUnreadable("the file is not an ONNX model") from error
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    parameters = [
        tensors[name]
        for node in graph.node
        if node.op_type in ("Conv", "PRelu")
        for name in node.input[1:]
    ]
    state = MobileFaceNet().state_dict()
    if len(parameters) != len(state):
        raise WeightsUnreadable(
            f"the model has {len(parameters)} tensors of weights, expected {len(state)}"
        )
    for (name, placeholder), parameter in zip(state.items(), parameters, strict=True):
        values = parameter.ravel() if parameter.ndim == 3 else parameter  # a PReLU's (c, 1, 1)
        if values.shape != tuple(placeholder.shape):
            raise WeightsUnreadable(
                f"{name} has shape {values.shape}, expected {tuple(placeholder.shape)}"
            )
        state[name] = torch.from_numpy(np.array(values, dtype=np.float32))
    return state
