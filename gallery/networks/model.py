"""A network, as torch builds it, and how it is opened to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gallery.networks.machine import Machine
from gallery.types import Float32

if TYPE_CHECKING:
    from torch import nn

Runner = Callable[[Float32], list[Float32]]
"""A network that can be run: its input to its outputs. Several threads may run it at a time."""


@dataclass(frozen=True)
class Model:
    """A network with one input.

    name : the start of its file's name in the cache.
    sha256 : of its weights, hexadecimal.
    build : makes the module, with its weights; called only to export it, or to run it in torch.
    shape : of the input; None for an axis of any length, as the first always is.
    """

    name: str
    sha256: str
    build: Callable[[], nn.Module]
    shape: tuple[int | None, ...]


def open_model(model: Model, machine: Machine) -> Runner:
    """Load a network, which is run in batches that suit the machine.

    Raises what building it raises, and WeightsUnreadable when the runtime cannot run it.
    """
    run, batch = _opened(model, machine), machine.batch

    def run_in_batches(values: Float32) -> list[Float32]:
        if len(values) <= batch:
            return run(values)
        parts = [run(values[start : start + batch]) for start in range(0, len(values), batch)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    return run_in_batches


def _opened(model: Model, machine: Machine) -> Runner:
    if machine.runtime == "torch":
        from gallery.networks.torch_runtime import open_in_torch

        return open_in_torch(model, machine.device, machine.threads)
    from gallery.networks.export import exported

    content = exported(model, machine.cache)
    if machine.runtime == "openvino":
        from gallery.networks.openvino_runtime import open_in_openvino

        return open_in_openvino(content, model.name, machine)
    from gallery.networks.onnx_runtime import open_in_onnx

    return open_in_onnx(content, model.name, machine.threads)
