"""Step 3 of the walk: aligned chips become 128-D encodings of unit length."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gallery.errors import InvalidEncoding, SettingInvalid
from gallery.types import DIMENSION, Encodings, Float32, UInt8
from gallery.weights.cache import dlib_resnet_state
from gallery.weights.dlib_resnet import CHIP_SIDE, DlibResNet
from gallery.weights.sources import DLIB_RESNET

_BATCH = 64


class Encoder:
    """dlib's face ResNet in torch.

    name, weights_sha256 : stored beside every encoding; encodings of two encoders never meet.
    """

    name = DLIB_RESNET.name
    weights_sha256 = DLIB_RESNET.sha256

    def __init__(self, cache: Path, device: torch.device) -> None:
        self._device = device
        self._network = DlibResNet()
        self._network.load_state_dict(dlib_resnet_state(cache))
        self._network.eval().to(device)

    def raw(self, chips: UInt8) -> Float32:
        """One encoding a chip, not normalised: uint8 (n, 150, 150, 3) -> float32 (n, 128)."""
        if chips.ndim != 4 or chips.shape[1:] != (CHIP_SIDE, CHIP_SIDE, 3):
            raise InvalidEncoding(
                f"chips of shape {chips.shape}, expected (n, {CHIP_SIDE}, {CHIP_SIDE}, 3)"
            )
        encoded = [np.empty((0, DIMENSION), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(chips), _BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(chips[start : start + _BATCH]))
                batch = batch.permute(0, 3, 1, 2).to(self._device)  # (n, 3, 150, 150)
                encoded.append(self._network(batch).cpu().numpy())
        return np.concatenate(encoded)

    def encode(self, views: UInt8) -> Encodings:
        """Encodings of n faces, the mean of each face's views: uint8 (n, v, 150, 150, 3)."""
        if views.ndim != 5 or views.shape[1] == 0:
            raise InvalidEncoding(f"views of shape {views.shape}, expected (n, v, 150, 150, 3)")
        faces, count = views.shape[:2]
        raw = self.raw(views.reshape(-1, *views.shape[2:]))
        return fuse(raw.reshape(faces, count, DIMENSION))


def fuse(raw: Float32) -> Encodings:
    """Views to encodings: each view to unit length, their mean to unit length again.

    raw : float32 (n, v, 128) as the network gives them.
    Raises InvalidEncoding for what is not finite or has no direction.
    """
    norms = np.linalg.norm(raw, axis=2)  # (n, v)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (raw / norms[:, :, None]).mean(axis=1)  # (n, 128)
        agreement = np.linalg.norm(mean, axis=1)
        vectors = mean / agreement[:, None]
    if not np.isfinite(vectors).all():
        raise InvalidEncoding("an encoding is not finite or has length zero; the photo is unusable")
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
