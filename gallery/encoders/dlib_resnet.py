"""dlib's 29-layer face ResNet as a plain torch module: (n, 3, 150, 150) chips -> (n, 128).

Source of the architecture: dlib's ``dnn_face_recognition_ex.cpp``. The affine layer after each
convolution is folded into it, so that the module has only convolutions and one linear layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gallery.encoders.dlib_dat import DlibNetwork, Layer
from gallery.errors import WeightsUnreadable

CHIP_SIDE = 150
DIMENSION = 128
_SCALE = 1.0 / 256.0
# (channels, whether it halves the resolution) of each residual block, in order.
_BLOCKS = (
    *[(32, False)] * 3,
    *[(64, True)],
    *[(64, False)] * 3,
    *[(128, True)],
    *[(128, False)] * 2,
    *[(256, True)],
    *[(256, False)] * 2,
    *[(256, True)],
)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a skip. down : both branches halve the resolution."""

    def __init__(self, channels_in: int, channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        # dlib pads stride-1 convolutions by one and strided ones not at all.
        self.first = nn.Conv2d(
            channels_in, channels, 3, stride=2 if down else 1, padding=0 if down else 1
        )
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.second(functional.relu(self.first(x)))
        if not self.down:
            return functional.relu(branch + x)
        skip = functional.avg_pool2d(x, 2, stride=2)
        # dlib's add_prev pads the smaller of two tensors with zeros at the end of each extent. The
        # branch may have more channels, and either may have one row and column more.
        rows = max(branch.shape[2], skip.shape[2])
        columns = max(branch.shape[3], skip.shape[3])
        return functional.relu(
            _zero_padded(branch, branch.shape[1], rows, columns)
            + _zero_padded(skip, branch.shape[1], rows, columns)
        )


def _zero_padded(x: Tensor, channels: int, rows: int, columns: int) -> Tensor:
    padding = (0, columns - x.shape[3], 0, rows - x.shape[2], 0, channels - x.shape[1])
    return functional.pad(x, padding) if any(padding) else x


class DlibResNet(nn.Module):
    """Chips to encodings.

    forward(chips): float32 or uint8 (n, 3, 150, 150), RGB, 0 to 255 -> float32 (n, 128), not
    normalised; norms are near 1.4.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        channels_before = [32, *(channels for channels, _ in _BLOCKS[:-1])]
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(before, channels, down)
                for before, (channels, down) in zip(channels_before, _BLOCKS, strict=True)
            )
        )
        self.head = nn.Linear(256, DIMENSION, bias=False)

    def forward(self, chips: Tensor) -> Tensor:
        x = (chips.to(self.mean.dtype) - self.mean) * _SCALE
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, stride=2)
        x = self.blocks(x).mean(dim=(2, 3))  # (n, 256)
        encodings: Tensor = self.head(x)
        return encodings


def state_of(network: DlibNetwork) -> dict[str, Tensor]:
    """The state dictionary of DlibResNet from a parsed ``.dat`` file.

    Raises WeightsUnreadable when the layers differ from this network's in kind, order or size.
    """
    try:
        return _state_of(network)
    except ValueError as error:  # the parameters do not fill their layer
        raise WeightsUnreadable(f"a layer has the wrong size: {error}") from error


def _state_of(network: DlibNetwork) -> dict[str, Tensor]:
    if network.side != CHIP_SIDE:
        raise WeightsUnreadable(
            f"the network takes chips of {network.side} pixels, expected {CHIP_SIDE}"
        )
    layers = iter(network.layers)
    state = {"mean": torch.tensor(network.mean, dtype=torch.float32).reshape(1, 3, 1, 1)}
    state |= _folded(layers, "stem", channels_in=3)
    _expect(layers, "relu", "max_pool")
    channels_in = 32
    for number, (channels, down) in enumerate(_BLOCKS):
        state |= _folded(layers, f"blocks.{number}.first", channels_in)
        _expect(layers, "relu")
        state |= _folded(layers, f"blocks.{number}.second", channels)
        _expect(layers, *(["avg_pool"] if down else []), "add_prev", "relu")
        channels_in = channels
    _expect(layers, "avg_pool")
    last = _next(layers, "fc")
    outputs, _ = last.shape
    # dlib stores (inputs, outputs); torch takes (outputs, inputs).
    weight = last.parameters.reshape(-1, outputs).T
    state["head.weight"] = torch.from_numpy(np.ascontiguousarray(weight))
    if next(layers, None) is not None:
        raise WeightsUnreadable("the file has layers after the last fully connected one")
    return state


def _folded(layers: Iterator[Layer], name: str, channels_in: int) -> dict[str, Tensor]:
    """A convolution with the affine layer after it: g (W x + b) + beta = (g W) x + (g b + beta)."""
    convolution, affine = _next(layers, "con"), _next(layers, "affine")
    filters, rows, columns = convolution.shape[:3]
    count = filters * channels_in * rows * columns
    weight = convolution.parameters[:count].reshape(filters, channels_in, rows, columns)
    bias = convolution.parameters[count:]
    gamma, beta = affine.parameters.reshape(2, filters)
    return {
        f"{name}.weight": torch.from_numpy(weight * gamma[:, None, None, None]),
        f"{name}.bias": torch.from_numpy(bias * gamma + beta),
    }


def _next(layers: Iterator[Layer], kind: str) -> Layer:
    layer = next(layers, None)
    if layer is None or layer.kind != kind:
        actual = "the end of the file" if layer is None else f"layer {layer.kind}"
        raise WeightsUnreadable(f"{actual}, expected layer {kind}")
    return layer


def _expect(layers: Iterator[Layer], *kinds: str) -> None:
    for kind in kinds:
        _next(layers, kind)
