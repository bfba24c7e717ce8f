"""Where the tests run networks."""

from __future__ import annotations

from pathlib import Path

from gallery.config import Runtime
from gallery.networks.machine import Machine


def on_cpu(cache: Path, runtime: Runtime = "onnx") -> Machine:
    """One thread of the CPU. cache : the folder for exported networks."""
    return Machine(runtime, "cpu", threads=1, cache=cache)
