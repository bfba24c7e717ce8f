"""Networks in torch: the reference for the other runtimes, and the only one on a GPU."""

from __future__ import annotations

import torch

from gallery.networks.model import Model, Runner
from gallery.types import Float32


def open_in_torch(model: Model, device: str, threads: int) -> Runner:
    """Build the module on a device, and return what runs it.

    threads : of torch, for all networks of the process; 0 is its default.
    """
    if threads:
        torch.set_num_threads(threads)
    module = model.build().eval().to(device)

    def run(values: Float32) -> list[Float32]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(values).to(device))
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        return [output.cpu().numpy() for output in several]

    return run
