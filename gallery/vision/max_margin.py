"""dlib's max-margin detector of faces (dlib's dnn_mmod_face_detection_ex.cpp, King 2015).

One convolutional network is slid over a pyramid of the picture. It finds badly lit faces that MTCNN
misses, but not their landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gallery.encoders.dlib_dat import DlibNetwork, Layer, read_detector
from gallery.encoders.weights import DLIB_MMOD
from gallery.networks.machine import Machine
from gallery.networks.model import Model, open_model
from gallery.types import Float32, UInt8
from gallery.vision.boxes import suppressed

if TYPE_CHECKING:
    from torch import nn

_SCALE = 1.0 / 256.0
_STRIDE, _FIRST = 8, 14
"""Pixels from one window's centre to the next, and to the first one's, by the three convolutions of
5 x 5 that halve the picture without a border."""
_FACTOR = 5 / 6
"""From one level of the pyramid to the next; dlib's."""
_LARGEST_LEVEL = 960
"""The longer side of the largest level, in pixels: it bounds time and memory."""
_LEAST_SCORE = 0.0
"""The margin that the network was trained to; dlib's."""
_PROMISING_SCORE = -0.85
"""Of 89 photos without a face, 9 % reach it on every second level of the second evened picture; of
232 badly lit faces of LFW's train people that only this detector found, 231 do."""
_MOST_OVERLAP = 0.34
"""Of two boxes, as intersection over union; dlib's."""


class MaxMarginDetector:
    """The network, read from the installed file.

    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """

    def __init__(self, machine: Machine) -> None:
        network = read_detector(DLIB_MMOD.read())
        self._side = network.side
        self._mean = np.array(network.mean, np.float32).reshape(3, 1, 1)
        self._scores = open_model(
            Model(
                DLIB_MMOD.name, DLIB_MMOD.sha256, lambda: _module(network), (None, 3, None, None)
            ),
            machine,
        )

    def squares(self, pixels: UInt8, min_side: int) -> Float32:
        """Squares around faces, float32 (n, 4): left, top, right, bottom. The likeliest first.

        pixels : uint8 (h, w, 3), or (h, w) of a grey picture.
        min_side : of a square, in pixels. It is larger in a large picture, see _LARGEST_LEVEL.
        """
        size = pixels.shape[1], pixels.shape[0]
        found = [self._windows(level, size) for level in self._levels(pixels, min_side)]
        windows = np.concatenate([np.empty((0, 5), np.float32), *found])
        return windows[suppressed(windows, windows[:, 4], _MOST_OVERLAP), :4]

    def is_promising(self, pixels: UInt8, min_side: int) -> bool:
        """Whether any square is to be expected, in some 60 % of the time of `squares`."""
        levels = islice(self._levels(pixels, min_side), 0, None, 2)
        return any(float(self._scored(level).max()) > _PROMISING_SCORE for level in levels)

    def _levels(self, pixels: UInt8, min_side: int) -> Iterator[Image.Image]:
        height, width = pixels.shape[:2]
        image = Image.fromarray(pixels)
        scale = min(self._side / min_side, _LARGEST_LEVEL / max(height, width))
        while min(height, width) * scale >= self._side:
            size = round(width * scale), round(height * scale)
            yield image.resize(size, Image.Resampling.BILINEAR)
            scale *= _FACTOR

    def _scored(self, level: Image.Image) -> Float32:
        """The score of each window of a level, float32 (rows, columns)."""
        pixels = np.asarray(level)
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        (scores,) = self._scores(((planes - self._mean) * np.float32(_SCALE))[None])
        level_scores: Float32 = scores[0, 0]
        return level_scores

    def _windows(self, level: Image.Image, size: tuple[int, int]) -> Float32:
        """One level's windows with a face: boxes in a picture of this size, and scores, (n, 5)."""
        scores = self._scored(level)
        rows, columns = np.nonzero(scores > _LEAST_SCORE)
        # Pixel centres lie at whole numbers, on the level and in the picture.
        factor = np.array([size[0] / level.width, size[1] / level.height])
        centres = (np.stack([columns, rows], axis=1) * _STRIDE + _FIRST + 0.5) * factor - 0.5
        half = factor * self._side / 2.0
        boxes = np.concatenate([centres - half, centres + half], axis=1)
        return np.column_stack([boxes, scores[rows, columns]]).astype(np.float32)


def _module(network: DlibNetwork) -> nn.Module:
    from torch import nn

    return nn.Sequential(*_modules(network.layers))


def _modules(layers: tuple[Layer, ...]) -> list[nn.Module]:
    """Convolutions, each with the affine layer after it folded into it, and rectifiers."""
    import torch
    from torch import nn

    modules: list[nn.Module] = []
    channels = 3
    for layer, after in zip(layers, (*layers[1:], None), strict=True):
        if layer.kind == "con":
            filters, rows, columns, *rest = layer.shape
            convolution = nn.Conv2d(
                channels, filters, (rows, columns), (rest[0], rest[1]), (rest[2], rest[3])
            )
            weight, bias = np.split(layer.parameters, [convolution.weight.numel()])
            weight = weight.reshape(convolution.weight.shape)
            if after is not None and after.kind == "affine":
                # g (W x + b) + beta = (g W) x + (g b + beta)
                gamma, beta = after.parameters.reshape(2, filters)
                weight, bias = weight * gamma[:, None, None, None], bias * gamma + beta
            state = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
            convolution.load_state_dict(state)
            modules.append(convolution)
            channels = filters
        elif layer.kind == "relu":
            modules.append(nn.ReLU())
    return modules
