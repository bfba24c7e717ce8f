"""dlib's max-margin detector of faces, in torch (dlib's dnn_mmod_face_detection_ex.cpp, King 2015).

One convolutional network is slid over a pyramid of the picture. It finds badly lit faces that MTCNN
misses, but not their landmarks.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import nms

from gallery.encoders.dlib_dat import Layer, read_detector
from gallery.encoders.weights import DLIB_MMOD
from gallery.types import Float32, UInt8

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
_MOST_OVERLAP = 0.34
"""Of two boxes, as intersection over union; dlib's."""


class MaxMarginDetector:
    """The network, read from the installed file.

    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """

    def __init__(self, device: torch.device) -> None:
        network = read_detector(DLIB_MMOD.read())
        self._device = device
        self._side = network.side
        self._mean = torch.tensor(network.mean, device=device).reshape(1, 3, 1, 1)
        self._layers = nn.Sequential(*_modules(network.layers)).to(device).eval()

    def squares(self, pixels: UInt8, min_side: int) -> Float32:
        """Squares around faces, float32 (n, 4): left, top, right, bottom. The likeliest first.

        min_side : of a square, in pixels. It is larger in a large picture, see _LARGEST_LEVEL.
        """
        height, width = pixels.shape[:2]
        image = Image.fromarray(pixels)
        scale = min(self._side / min_side, _LARGEST_LEVEL / max(height, width))
        found = [torch.zeros((0, 5))]
        while min(height, width) * scale >= self._side:
            size = round(width * scale), round(height * scale)
            found.append(self._windows(image.resize(size, Image.Resampling.BILINEAR), image.size))
            scale *= _FACTOR
        windows = torch.cat(found)
        kept = nms(windows[:, :4], windows[:, 4], _MOST_OVERLAP)
        squares: Float32 = windows[kept, :4].numpy()
        return squares

    @torch.inference_mode()
    def _windows(self, level: Image.Image, size: tuple[int, int]) -> Tensor:
        """One level's windows with a face: boxes in a picture of this size, and scores, (n, 5)."""
        pixels = torch.from_numpy(np.array(level)).permute(2, 0, 1)[None].to(self._device)
        scores = self._layers((pixels - self._mean) * _SCALE)[0, 0].cpu()  # (rows, columns)
        rows, columns = torch.nonzero(scores > _LEAST_SCORE, as_tuple=True)
        # Pixel centres lie at whole numbers, on the level and in the picture.
        factor = torch.tensor([size[0] / level.width, size[1] / level.height])
        centres = (torch.stack([columns, rows], dim=1) * _STRIDE + _FIRST + 0.5) * factor - 0.5
        half = factor * self._side / 2.0
        return torch.cat([centres - half, centres + half, scores[rows, columns, None]], dim=1)


def _modules(layers: tuple[Layer, ...]) -> list[nn.Module]:
    """Convolutions, each with the affine layer after it folded into it, and rectifiers."""
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
