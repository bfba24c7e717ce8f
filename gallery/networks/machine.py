"""Where the networks run: the settings GALLERY_RUNTIME, GALLERY_DEVICE and GALLERY_THREADS."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from gallery.config import Runtime, Settings
from gallery.errors import SettingInvalid


@dataclass(frozen=True)
class Machine:
    """Where networks run.

    runtime : "torch", "onnx" or "openvino".
    device : torch's name of it: "cpu", "cuda" or "mps". Only torch runs on another than the CPU.
    threads : for each network; 0 is the runtime's default.
    cache : the folder for exported networks.
    """

    runtime: Runtime
    device: str
    threads: int
    cache: Path


def machine_for(settings: Settings) -> Machine:
    """The machine of these settings. Raises SettingInvalid when it is not available."""
    device = _device(settings)
    runtime = settings.runtime
    if runtime == "auto":
        runtime = "onnx" if device == "cpu" else "torch"
    if runtime != "torch" and device != "cpu":
        raise SettingInvalid(
            f"GALLERY_RUNTIME = {runtime!r} runs on the CPU only, but GALLERY_DEVICE ="
            f" {settings.device!r}; use GALLERY_RUNTIME=torch, or GALLERY_DEVICE=cpu"
        )
    if runtime == "openvino" and importlib.util.find_spec("openvino") is None:
        raise SettingInvalid(
            "GALLERY_RUNTIME = 'openvino', but OpenVINO is not installed: pip install"
            " 'face-gallery[fast]', or use onnx"
        )
    return Machine(runtime, device, settings.threads, settings.cache)


def _device(settings: Settings) -> str:
    setting = settings.device
    if setting == "cpu":
        return setting
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if setting == "auto":
        return next(name for name, is_available in available.items() if is_available)
    if not available[setting]:
        raise SettingInvalid(
            f"GALLERY_DEVICE = {setting!r}, but torch finds no such device here; use cpu"
        )
    return setting
