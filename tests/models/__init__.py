"""Models made by the tests, in place of those whose weights cannot be downloaded here."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from gallery.encoders.built_in import DLIB_TRAITS
from gallery.encoders.dlib_resnet import DlibResNet
from gallery.encoders.encoder import encoder_sha256
from gallery.encoders.onnx import OnnxNetwork
from gallery.encoders.protocol import Traits
from gallery.encoders.weights_cache import dlib_resnet_state
from gallery.matching.head import Head, load_head, load_projection
from gallery.matching.head_files import head_stem
from gallery.package_data import HEAD_FILE, shipped_file
from gallery.types import DIMENSION

DLIB_RECIPE = """size = 150
channel_order = "rgb"
mean = 0.0
scale = 1.0
template = "dlib-150"
licence = "CC0 1.0"
"""
ARCFACE_RECIPE = """size = 112
channel_order = "bgr"
mean = 127.5
scale = 0.0078125
template = "arcface-112"
"""


def shipped_head(traits: Traits = DLIB_TRAITS) -> Head:
    """The head that ships for a built-in encoder."""
    file, sha256 = shipped_file(f"{traits.name}/{HEAD_FILE}"), traits.sha256
    if traits.dimension > DIMENSION:
        sha256 = encoder_sha256(sha256, load_projection(file, sha256, traits.spec))
    return load_head(file, traits.name, sha256)


def export_dlib(file: Path, cache: Path, *, pooled: bool = False) -> Path:
    """Export the default encoder to ONNX, with its TOML file.

    pooled : without the last layer, so that it returns 256 numbers.
    """
    network = DlibResNet()
    network.load_state_dict(dlib_resnet_state(cache))
    if pooled:
        network.head = torch.nn.Identity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the older exporter, which needs no extra packages
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, 150, 150),),
            file,
            input_names=["chips"],
            output_names=["encodings"],
            dynamic_axes={"chips": {0: "n"}, "encodings": {0: "n"}},
            dynamo=False,
        )
    file.with_suffix(".toml").write_text(DLIB_RECIPE)
    return file


def write_model(
    file: Path,
    dimension: int,
    *,
    shape: tuple[object, ...] = ("n", 3, 112, 112),
    dtype: int = TensorProto.FLOAT,
    norm_first: bool = False,
    external: str | None = None,
    recipe: str | None = ARCFACE_RECIPE,
    batching: str = "any number",
    nan_from: float | None = None,
    fails_from: float | None = None,
    sequence: bool = False,
) -> Path:
    """Write a model that multiplies an 8 x 8 average of the chip by a random matrix.

    norm_first : add an output of one number before the encoding.
    external : the location of its weights, outside the model's file.
    batching : how it treats several chips: "any number", "fails" or "mixes".
    nan_from : chips with a mean at or above this number get NaN.
    fails_from : the model fails on chips with a number above this.
    sequence : its output is a sequence of the encoding, not a tensor.
    """
    rng = np.random.default_rng(dimension)
    nodes, last = [], "chips"
    sides = shape[2:4] if shape[1] == 3 else shape[1:3]
    parts = [side // 8 if isinstance(side, int) else 14 for side in sides]
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [last], ["float"], to=TensorProto.FLOAT))
        last = "float"
    if shape[1] != 3:
        nodes.append(helper.make_node("Transpose", [last], ["nchw"], perm=[0, 3, 1, 2]))
        last = "nchw"
    nodes += [
        helper.make_node("AveragePool", [last], ["p"], kernel_shape=parts, strides=parts),
        helper.make_node("Reshape", ["p", "one row"], ["flat"])
        if batching == "fails"
        else helper.make_node("Flatten", ["p"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["projected"]),
    ]
    constants = [numpy_helper.from_array(np.array([1, -1], np.int64), "one row")]
    last = "projected"
    if batching == "mixes":
        nodes += [
            helper.make_node("ReduceMean", [last], ["middle"], axes=[0], keepdims=1),
            helper.make_node("Add", [last, "middle"], ["mixed"]),
        ]
        last = "mixed"
    if nan_from is not None:
        constants.append(numpy_helper.from_array(np.array([nan_from], np.float32), "darkest"))
        nodes += [
            helper.make_node("ReduceMean", ["flat"], ["light"], axes=[1], keepdims=1),
            helper.make_node("Sub", ["darkest", "light"], ["left"]),
            helper.make_node("Relu", ["left"], ["positive"]),
            helper.make_node("Div", ["positive", "positive"], ["one or nan"]),
            helper.make_node("Mul", [last, "one or nan"], ["poisoned"]),
        ]
        last = "poisoned"
    if fails_from is not None:
        constants += [
            numpy_helper.from_array(np.array(fails_from, np.float32), "fails from"),
            numpy_helper.from_array(np.ones(1, np.float32), "only"),
        ]
        nodes += [
            helper.make_node("ReduceMax", ["chips"], ["largest"], keepdims=0),
            helper.make_node("Sub", ["largest", "fails from"], ["beyond"]),
            helper.make_node("Relu", ["beyond"], ["excess"]),
            helper.make_node("Ceil", ["excess"], ["steps"]),
            helper.make_node("Cast", ["steps"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["only", "index"], ["one"]),  # fails out of bounds
            helper.make_node("Mul", [last, "one"], ["checked"]),
        ]
        last = "checked"
    nodes += [
        helper.make_node("Identity", [last], ["encoding"]),
        helper.make_node("SequenceConstruct", ["encoding"], ["sequence"]),
        helper.make_node("ReduceL2", ["encoding"], ["norm"], axes=[1], keepdims=1),
    ]
    weights = numpy_helper.from_array(
        rng.normal(size=(192, dimension)).astype(np.float32) / 14, "w"
    )
    if external is not None:
        onnx.external_data_helper.set_external_data(weights, location=external)
        raw = weights.raw_data
        if "/" not in external:
            (file.parent / external).write_bytes(raw)
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
    outputs = [
        helper.make_tensor_value_info("encoding", TensorProto.FLOAT, ["n", dimension]),
        helper.make_tensor_value_info("norm", TensorProto.FLOAT, ["n", 1]),
        helper.make_tensor_sequence_value_info("sequence", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("chips", dtype, shape)],
        outputs[2:] if sequence else outputs[1::-1] if norm_first else outputs[:1],
        [weights, *constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    if recipe is not None:
        file.with_suffix(".toml").write_text(recipe)
    return file


def save_dlib_onnx_head(model: Path, home: Path) -> Head:
    """Save the shipped head for the default encoder in ONNX, in a gallery's home."""
    traits = OnnxNetwork(model).traits
    shipped = shipped_head()
    marks = replace(shipped.metadata, encoder=traits.name, encoder_sha256=traits.sha256)
    head = Head(shipped.cohort, shipped.networks, marks)
    head.save(home / f"{head_stem(traits)}.safetensors")
    return head
