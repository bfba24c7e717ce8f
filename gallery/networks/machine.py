"""Where the networks run: the settings GALLERY_RUNTIME, GALLERY_DEVICE and GALLERY_THREADS."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from gallery.config import Precision, Runtime, Settings
from gallery.errors import SettingInvalid

_CPU_BATCH, _GPU_BATCH = 8, 256


@dataclass(frozen=True)
class Machine:
    """Where networks run.

    runtime : "torch", "onnx" or "openvino".
    device : torch's name of it: "cpu", "cuda" or "mps". Only torch runs on another than the CPU.
    threads : for each network; 0 is the runtime's default.
    cache : the folder for exported networks.
    precision : of the encoder's arithmetic. Only OpenVINO has another than "float32".
    """

    runtime: Runtime
    device: str
    threads: int
    cache: Path
    precision: Precision = "float32"

    @property
    def for_detection(self) -> Machine:
        """Where the detector's networks run: in float32, and in onnxruntime rather than OpenVINO.

        In bfloat16, three of 259 photos showed a face more or less. OpenVINO is slower where every
        image has another size.
        """
        runtime: Runtime = "onnx" if self.runtime == "openvino" else self.runtime
        return replace(self, runtime=runtime, precision="float32")

    def described(self) -> str:
        """What runs the networks, and on what, for people to read."""
        where = "the CPU" if self.device == "cpu" else self.device
        threads = f"{self.threads} threads" if self.threads else "a thread for each core"
        suffix = f", {threads}" if self.device == "cpu" else ""
        if self.for_detection != self:
            suffix += f"; the encoder by {_program(self.runtime)} in {self.precision}"
        return f"run by {_program(self.for_detection.runtime)} on {where}{suffix}"

    @property
    def batch(self) -> int:
        """How many images a network is given at a time, at most.

        A processor's cache holds what a network makes of a few images, not of many: in a batch of
        64 the detector's take twice as long each as in one of 16, an encoder's as alone.
        """
        return _CPU_BATCH if self.device == "cpu" else _GPU_BATCH


def _program(runtime: Runtime) -> str:
    distribution = {"onnx": "onnxruntime"}.get(runtime, runtime)
    return f"{distribution} {version(distribution)}"


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
    if settings.precision != "float32" and runtime != "openvino":
        raise SettingInvalid(
            f"GALLERY_PRECISION = {settings.precision!r} needs GALLERY_RUNTIME=openvino, which"
            f" is {runtime!r} here; use float32"
        )
    return Machine(runtime, device, settings.threads, settings.cache, settings.precision)


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
