"""Networks as ONNX files in the cache folder, exported from their torch modules.

A file's name ends with the hash of its content, so that a damaged one is noticed and made again.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from contextlib import suppress
from pathlib import Path

from gallery.config import NETWORKS_FOLDER
from gallery.errors import WeightsUnreadable
from gallery.networks.model import Model
from indexer.whole_file import atomic_write

_VERSION = "1"  # raise it when modules or their export change
_OPSET = 17
_EXAMPLE = 32
"""Length of the axes of any length in the example that is traced."""


def exported(model: Model, cache: Path) -> bytes:
    """The network's ONNX file, from the cache or exported now.

    A cache that cannot be written is ignored: an export takes seconds, most to import torch.
    Raises what building the network raises, and WeightsUnreadable when torch cannot export it.
    """
    folder = cache / NETWORKS_FOLDER
    start = f"{model.name}-{_VERSION}-{model.sha256[:16]}-"
    with suppress(OSError):
        for file in sorted(folder.glob(f"{start}*.onnx")):
            content = file.read_bytes()
            if file.name == start + _digest(content):
                return content
    content = _with_fast_prelu(_export(model))
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for damaged in folder.glob(f"{start}*.onnx"):
            damaged.unlink()
        with atomic_write(folder / (start + _digest(content))) as out:
            out.write(content)
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16] + ".onnx"


def _export(model: Model) -> bytes:
    import torch

    module = model.build().eval()
    free = {axis: f"axis{axis}" for axis, length in enumerate(model.shape) if length is None}
    example = torch.zeros([_EXAMPLE if length is None else length for length in model.shape])
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of this exporter, which needs no further package
        try:
            torch.onnx.export(
                module,
                (example,),
                file,  # type: ignore[arg-type]  # the stub knows paths only
                input_names=["input"],
                dynamic_axes={"input": free},
                opset_version=_OPSET,
                dynamo=False,
            )
        except Exception as error:  # torch raises many kinds
            reason = " ".join(str(error).split())[:300]
            raise WeightsUnreadable(
                f"torch {torch.__version__} cannot export {model.name} to ONNX: {reason};"
                " set GALLERY_RUNTIME=torch to run it in torch"
            ) from error
    return file.getvalue()


def _with_fast_prelu(content: bytes) -> bytes:
    """The model with a x + (1 - a) max(x, 0) for each PReLU with slopes a.

    onnxruntime keeps images in blocks of channels for its convolutions, but not for its PReLU,
    which took more than half of the time. As convolutions of one pixel it stays in blocks.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_model_from_string(content)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        slopes = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slopes is None or len(slopes.dims) != 3:  # of a dense layer
            nodes.append(node)
            continue
        values = numpy_helper.to_array(slopes).reshape(-1, 1, 1, 1)
        (image, _), (result,) = node.input, node.output
        part = {name: f"{result}.{name}" for name in ("relu", "above", "linear", "rest", "slope")}
        graph.initializer.append(numpy_helper.from_array(values, part["slope"]))
        graph.initializer.append(
            numpy_helper.from_array((1 - values).astype(np.float32), part["rest"])
        )
        nodes += [
            helper.make_node("Relu", [image], [part["relu"]]),
            helper.make_node(
                "Conv", [part["relu"], part["rest"]], [part["above"]], group=len(values)
            ),
            helper.make_node("Conv", [image, part["slope"]], [part["linear"]], group=len(values)),
            helper.make_node("Add", [part["linear"], part["above"]], [result]),
        ]
        graph.initializer.remove(slopes)
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())
