"""Any face model in ONNX, run by onnxruntime, with a TOML file beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
import onnxruntime

from gallery.encoders.onnx_config import (
    LARGEST_SIDE,
    SMALLEST_SIDE,
    Recipe,
    recipe_beside,
)
from gallery.encoders.protocol import Traits, checked_chips
from gallery.errors import WeightsMissing, WeightsUnreadable
from gallery.types import Float32, UInt8

NAME = "onnx"
LARGEST_DIMENSION = 16_384
"""The most numbers that an encoding may have."""
_BATCH = 32
_MOST_BYTES = 2**31 - 1  # a protobuf has no more
_LARGEST_BATCH = 64
_AS_ALONE = 1e-2
"""A chip's numbers among others may differ from those alone by so much of the largest."""
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True)
class _Shape:
    """What the model's input is called and how it lies. batch : None where it is free."""

    name: str
    dtype: Any
    layout: str
    width: int
    height: int
    batch: int | None


class OnnxNetwork:
    """An ONNX model in a session of its own."""

    def __init__(self, model: Path, *, threads: int = 0, gpu: bool = False) -> None:
        """Raises WeightsMissing or WeightsUnreadable with what is wrong and where."""
        model = model.expanduser().resolve()
        self._recipe = recipe = recipe_beside(model) if model.is_file() else _absent(model)
        parts = _parts(model)
        self._session = _session(model, threads, gpu)
        self._shape = _input(model, self._session, recipe)
        template = recipe.aligned(self._shape.width, self._shape.height)
        self._output, dimension = self._encoding_output(model)
        self._shape = replace(self._shape, batch=self._chips_at_once())
        digest = hashlib.sha256()
        for part in parts:
            digest.update(_sha256(part).encode())
        digest.update(recipe.meaning(template, self._shape.layout, self._output).encode())
        unstated = f"not stated in {recipe.file.name}; ask whoever made the model"
        self.traits = Traits(
            name=NAME,
            spec=f"{NAME}:{model}",
            sha256=digest.hexdigest(),
            template=template,
            dimension=dimension,
            licence_code=recipe.licence_code or unstated,
            licence_weights=recipe.licence or unstated,
            accuracy=f"stated in {recipe.file.name}: {recipe.accuracy}"
            if recipe.accuracy
            else "not known; `gallery evaluate folder` measures it on your people",
        )

    def raw(self, chips: UInt8) -> Float32:
        """See Network.raw. Raises WeightsUnreadable when the model fails on them."""
        checked_chips(chips, self.traits.template)
        encoded = [np.empty((0, self.traits.dimension), dtype=np.float32)]
        step = self._shape.batch or _BATCH
        for start in range(0, len(chips), step):
            encoded.append(self._run(chips[start : start + step], self._output))
        return np.concatenate(encoded)

    def _run(self, chips: UInt8, output: str) -> Float32:
        shape = self._shape
        rows = len(chips)
        pixels = chips[..., ::-1] if self._recipe.bgr else chips
        mean, scale = (
            np.array(v, dtype=np.float32) for v in (self._recipe.mean, self._recipe.scale)
        )
        filled = pixels if shape.dtype is np.uint8 else (pixels.astype(np.float32) - mean) * scale
        if shape.batch is not None and rows < shape.batch:
            filled = np.concatenate([filled, np.repeat(filled[-1:], shape.batch - rows, axis=0)])
        if shape.layout == "nchw":
            filled = filled.transpose(0, 3, 1, 2)
        given = {shape.name: np.ascontiguousarray(filled, dtype=shape.dtype)}
        try:
            (found,) = self._session.run([output], given)
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise WeightsUnreadable(f"the model failed on a chip: {_said(error)}") from error
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise WeightsUnreadable(f"output {output!r} is no tensor of numbers, expected (n, d)")
        if found.ndim < 2 or len(found) < rows:
            raise WeightsUnreadable(
                f"output {output!r} has shape {found.shape} for {len(filled)} chips, expected"
                " (n, d)"
            )
        return found[:rows].reshape(rows, -1).astype(np.float32)

    def _encoding_output(self, model: Path) -> tuple[str, int]:
        """The output that is the encoding, and its length: the one that is named, else the first
        that has a row of several numbers for each chip.
        """
        names = [output.name for output in self._session.get_outputs()]
        wanted = self._recipe.output
        if wanted is not None and wanted not in names:
            raise WeightsUnreadable(
                f"{self._recipe.file}: output = {wanted!r}, but {model.name} has {', '.join(names)}"
            )
        blank = np.zeros((1, self._shape.height, self._shape.width, 3), dtype=np.uint8)
        for name in names if wanted is None else [wanted]:
            try:
                found = self._run(blank, name)
            except WeightsUnreadable:
                if wanted is not None or len(names) == 1:
                    raise
                continue
            if not 2 <= found.shape[1] <= LARGEST_DIMENSION:
                continue
            if not np.isfinite(found).all():
                raise WeightsUnreadable(
                    f"{model} gives numbers that are not finite for a blank chip, in output"
                    f" {name!r}; look at mean and scale in {self._recipe.file}"
                )
            return name, found.shape[1]
        raise WeightsUnreadable(
            f"{model} has no output of shape (n, d) with d of 2 to {LARGEST_DIMENSION}; it has"
            f" {', '.join(names)}"
        )

    def _chips_at_once(self) -> int | None:
        """As many as the model wants; None where it takes any number; one where it only says so,
        and fails on two or mixes them.
        """
        shape = self._shape
        if shape.batch is not None:
            return shape.batch
        two = np.zeros((2, shape.height, shape.width, 3), dtype=np.uint8)
        two[1] = (np.arange(two[1].size) % 251).reshape(two[1].shape)
        alone = np.concatenate([self._run(two[i : i + 1], self._output) for i in range(2)])
        try:
            both = self._run(two, self._output)
        except WeightsUnreadable:
            return 1
        if both.shape != alone.shape:
            return 1
        return None if np.abs(both - alone).max() <= _AS_ALONE * np.abs(alone).max() else 1


def _absent(model: Path) -> Recipe:
    what = "a folder" if model.is_dir() else "not there"
    raise WeightsMissing(
        f"{model} is {what}; name an ONNX file: onnx:FILE, with FILE.toml or the same name with"
        " .toml beside it"
    )


def _parts(model: Path) -> list[Path]:
    """The model's file, and the files of weights that it names, which must lie beside it.

    Raises WeightsUnreadable for one that lies anywhere else: a model must not read your files.
    """
    try:
        if model.stat().st_size > _MOST_BYTES:
            raise WeightsUnreadable(f"{model} has over 2 GiB, which no ONNX file has")
        graph = onnx.load_model_from_string(model.read_bytes()).graph
    except OSError as error:
        raise WeightsUnreadable(f"{model} cannot be read: {error.strerror}") from error
    except WeightsUnreadable:
        raise
    except Exception as error:  # protobuf's and onnx's have no common base but this
        raise WeightsUnreadable(f"{model} is no ONNX model: {_said(error)}") from error
    found = {model.name: model}
    for location in sorted(set(_external(graph))):
        file = model.parent / location
        if PurePosixPath(location).name != location or "\\" in location or file.is_symlink():
            raise WeightsUnreadable(
                f"{model} wants to read {location!r}; its weights must be files right beside it"
            )
        if not file.is_file():
            raise WeightsMissing(f"{model} keeps weights in {location}, which is not beside it")
        found[location] = file
    return list(found.values())


def _external(graph: onnx.GraphProto) -> Iterator[str]:
    """Where tensors lie that are not in the model's file."""
    tensors = [*graph.initializer]
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _external(inner)
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (e.value for e in tensor.external_data if e.key == "location")


def _session(model: Path, threads: int, gpu: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what is wrong is raised
    there = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider"] if gpu and "CUDAExecutionProvider" in there else []
    try:
        return onnxruntime.InferenceSession(
            str(model), options, providers=[*wanted, "CPUExecutionProvider"]
        )
    except Exception as error:
        raise WeightsUnreadable(
            f"{model} cannot be run by onnxruntime {onnxruntime.__version__}: {_said(error)}"
        ) from error


def _input(model: Path, session: onnxruntime.InferenceSession, recipe: Recipe) -> _Shape:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs)
        raise WeightsUnreadable(
            f"{model} has {len(inputs)} inputs ({names}), expected one of chips"
        )
    (only,) = inputs
    dtype = _TYPES.get(only.type)
    if dtype is None:
        raise WeightsUnreadable(f"{model} wants {only.type}, expected one of {', '.join(_TYPES)}")
    if dtype is np.uint8 and (set(recipe.mean), set(recipe.scale)) != ({0.0}, {1.0}):
        raise WeightsUnreadable(
            f"{model} wants whole pixels (uint8), so that {recipe.file.name} must have mean = 0 and"
            " scale = 1"
        )
    shape: Sequence[Any] = only.shape
    if len(shape) != 4:
        raise WeightsUnreadable(f"{model} wants an input of shape {shape}, expected four extents")
    layout = recipe.layout or _layout(shape)
    if layout is None:
        raise WeightsUnreadable(
            f"{model} has an input of shape {shape}, which does not tell where the channels are;"
            f' add layout = "nchw" or "nhwc" to {recipe.file}'
        )
    channels = 1 if layout == "nchw" else 3
    if isinstance(shape[channels], int) and shape[channels] != 3:
        raise WeightsUnreadable(
            f"{model} has an input of shape {shape}: as {layout} that is {shape[channels]}"
            " channels, expected 3"
        )
    height, width = shape[2:4] if layout == "nchw" else shape[1:3]
    sides: list[int] = []
    for said, own, what in ((recipe.width, width, "wide"), (recipe.height, height, "high")):
        own = own if isinstance(own, int) and own > 0 else None
        if said is None and own is None:
            raise WeightsUnreadable(f"{recipe.file} lacks size, and {model.name} takes any")
        if said is not None and own not in (None, said):
            raise WeightsUnreadable(
                f"{recipe.file}: size = {said}, but {model.name} wants chips {own} pixels {what}"
            )
        side = own if said is None else said
        assert side is not None
        if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise WeightsUnreadable(
                f"{model} wants chips {side} pixels {what}, expected {SMALLEST_SIDE} to"
                f" {LARGEST_SIDE}"
            )
        sides.append(side)
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    if batch is not None and batch > _LARGEST_BATCH:
        raise WeightsUnreadable(
            f"{model} wants {batch} chips at a time, expected at most {_LARGEST_BATCH}; export it"
            " for one, or for any number"
        )
    return _Shape(only.name, dtype, layout, sides[0], sides[1], batch)


def _layout(shape: Sequence[Any]) -> str | None:
    if shape[1] == 3 and shape[3] != 3:
        return "nchw"
    return "nhwc" if shape[3] == 3 and shape[1] != 3 else None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _said(error: Exception) -> str:
    """An error of a library, on one line."""
    return " ".join(str(error).split())[:300]
