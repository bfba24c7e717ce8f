"""Networks in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from gallery.errors import WeightsUnreadable
from gallery.networks.model import Runner
from gallery.types import Float32

_FATAL = 4
"""The only messages that are logged: errors are raised."""


def open_session(
    source: bytes | Path, name: str, threads: int, providers: tuple[str, ...] = ()
) -> onnxruntime.InferenceSession:
    """Load a model, from a file or its bytes.

    name : of the model, for errors.  threads : 0 is one for each core.
    providers : onnxruntime's, to be tried before the CPU.
    Raises WeightsUnreadable.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL
    options.enable_mem_pattern = False  # it keeps a plan of the memory for each size of a picture
    # Each network has threads of its own. Those of one must not spin while another works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source),
            options,
            providers=[*providers, "CPUExecutionProvider"],
        )
    except Exception as error:  # onnxruntime's errors have no other common base
        raise WeightsUnreadable(
            f"{name} cannot be run by onnxruntime {onnxruntime.__version__}: {one_line(error)}"
        ) from error


def open_in_onnx(content: bytes, name: str, threads: int) -> Runner:
    """Load an exported network. Raises WeightsUnreadable."""
    session = open_session(content, name, threads)
    (only,) = session.get_inputs()

    def run(values: Float32) -> list[Float32]:
        outputs: list[Float32] = session.run(None, {only.name: values})
        return outputs

    return run


def one_line(error: Exception) -> str:
    """The message of a library's error."""
    return " ".join(str(error).split())[:300]
