"""Networks in OpenVINO, which the extra `fast` installs."""

from __future__ import annotations

import threading

import numpy as np
import openvino

from gallery.config import NETWORKS_FOLDER
from gallery.errors import WeightsUnreadable
from gallery.networks.machine import Machine
from gallery.networks.model import Runner
from gallery.networks.onnx_runtime import one_line
from gallery.types import Float32

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def open_in_openvino(content: bytes, name: str, machine: Machine) -> Runner:
    """Load an exported network. Compiled networks are kept in the cache folder.

    Raises WeightsUnreadable.
    """
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _PRECISIONS[machine.precision],
        # Or else several processes of one thread all take the first core.
        "ENABLE_CPU_PINNING": "NO",
        "CACHE_DIR": str(machine.cache / NETWORKS_FOLDER / "openvino"),
    }
    if machine.threads:
        options["INFERENCE_NUM_THREADS"] = str(machine.threads)
    try:
        core = openvino.Core()
        network = core.compile_model(core.read_model(content), "CPU", options)
    except Exception as error:  # OpenVINO's errors have no other common base
        raise WeightsUnreadable(
            f"{name} cannot be run by OpenVINO {openvino.__version__}: {one_line(error)}"
        ) from error
    each_thread = threading.local()

    def run(values: Float32) -> list[Float32]:
        if not hasattr(each_thread, "request"):
            each_thread.request = network.create_infer_request()
        answers = each_thread.request.infer([values])
        return [np.array(answers[output]) for output in network.outputs]

    return run
