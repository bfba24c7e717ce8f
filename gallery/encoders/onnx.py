"""Face models in ONNX, run by onnxruntime. A TOML file beside the model describes its input."""

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
from gallery.encoders.protocol import Traits, check_chips
from gallery.errors import WeightsMissing, WeightsUnreadable
from gallery.networks.onnx_runtime import one_line, open_session
from gallery.types import Float32, UInt8

NAME = "onnx"
LARGEST_DIMENSION = 16_384
"""The most numbers that an encoding may have."""
_BATCH = 32
_MAX_BYTES = 2**31 - 1  # the limit of protobuf
_MAX_FIXED_BATCH = 64
_BATCH_TOLERANCE = 1e-2
"""Difference of encodings in a batch to those of single chips, over the largest number."""
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True)
class _Input:
    """The model's input.

    layout : "nchw" or "nhwc".
    batch : the number of chips that the model takes at a time; None: any.
    """

    name: str
    dtype: Any
    layout: str
    width: int
    height: int
    batch: int | None


class OnnxNetwork:
    """An ONNX model in its own session."""

    def __init__(self, model: Path, *, threads: int = 0, gpu: bool = False) -> None:
        """Load a model and run it on a blank chip.

        threads : of onnxruntime; 0 is its default.
        Raises WeightsMissing or WeightsUnreadable.
        """
        model = model.expanduser().resolve()
        if not model.is_file():
            raise WeightsMissing(
                f"{model} {'is a folder' if model.is_dir() else 'does not exist'}; name an ONNX"
                " file: onnx:FILE, with FILE.toml or the same name with .toml beside it"
            )
        self._recipe = recipe = recipe_beside(model)
        files = _files(model)
        self._session = _session(model, threads, gpu)
        self._input = _input(model, self._session, recipe)
        template = recipe.aligned(self._input.width, self._input.height)
        self._output, dimension = self._encoding_output(model)
        self._input = replace(self._input, batch=self._usable_batch())
        digest = hashlib.sha256()
        for file in files:
            digest.update(_sha256(file).encode())
        digest.update(recipe.meaning(template, self._input.layout, self._output).encode())
        unstated = f"not stated in {recipe.file.name}; ask the author of the model"
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
            else "not known; measure it on your people with `gallery evaluate folder`",
        )

    def raw(self, chips: UInt8) -> Float32:
        """See Network.raw. Raises WeightsUnreadable when the model fails on the chips."""
        check_chips(chips, self.traits.template)
        batches = [np.empty((0, self.traits.dimension), dtype=np.float32)]
        step = self._input.batch or _BATCH
        for start in range(0, len(chips), step):
            batches.append(self._run(chips[start : start + step], self._output))
        return np.concatenate(batches)

    def _run(self, chips: UInt8, output: str) -> Float32:
        spec = self._input
        rows = len(chips)
        pixels = chips[..., ::-1] if self._recipe.bgr else chips
        mean, scale = (
            np.array(v, dtype=np.float32) for v in (self._recipe.mean, self._recipe.scale)
        )
        batch = pixels if spec.dtype is np.uint8 else (pixels.astype(np.float32) - mean) * scale
        if spec.batch is not None and rows < spec.batch:
            batch = np.concatenate([batch, np.repeat(batch[-1:], spec.batch - rows, axis=0)])
        if spec.layout == "nchw":
            batch = batch.transpose(0, 3, 1, 2)
        inputs = {spec.name: np.ascontiguousarray(batch, dtype=spec.dtype)}
        try:
            (result,) = self._session.run([output], inputs)
        except Exception as error:  # onnxruntime's errors have no other common base
            raise WeightsUnreadable(f"the model failed on a chip: {one_line(error)}") from error
        if not isinstance(result, np.ndarray) or result.dtype.kind not in "fiu":
            raise WeightsUnreadable(
                f"output {output!r} is not a tensor of numbers, expected shape (n, d)"
            )
        if result.ndim < 2 or len(result) < rows:
            raise WeightsUnreadable(
                f"output {output!r} has shape {result.shape} for {len(batch)} chips, expected"
                " (n, d)"
            )
        return result[:rows].reshape(rows, -1).astype(np.float32)

    def _encoding_output(self, model: Path) -> tuple[str, int]:
        """The name of the output that is the encoding, and its length.

        Unless the recipe names it, it is the first with several numbers for each chip.
        """
        names = [output.name for output in self._session.get_outputs()]
        named = self._recipe.output
        if named is not None and named not in names:
            raise WeightsUnreadable(
                f"{self._recipe.file}: output = {named!r}, but {model.name} has {', '.join(names)}"
            )
        blank = np.zeros((1, self._input.height, self._input.width, 3), dtype=np.uint8)
        for name in names if named is None else [named]:
            try:
                encoding = self._run(blank, name)
            except WeightsUnreadable:
                if named is not None or len(names) == 1:
                    raise
                continue
            if not 2 <= encoding.shape[1] <= LARGEST_DIMENSION:
                continue
            if not np.isfinite(encoding).all():
                raise WeightsUnreadable(
                    f"{model} returns numbers that are not finite for a blank chip, in output"
                    f" {name!r}; check mean and scale in {self._recipe.file}"
                )
            return name, encoding.shape[1]
        raise WeightsUnreadable(
            f"{model} has no output of shape (n, d) with d of 2 to {LARGEST_DIMENSION}; it has"
            f" {', '.join(names)}"
        )

    def _usable_batch(self) -> int | None:
        """The declared batch; 1 when any is declared, but the model fails on two or mixes them."""
        spec = self._input
        if spec.batch is not None:
            return spec.batch
        chips = np.zeros((2, spec.height, spec.width, 3), dtype=np.uint8)
        chips[1] = (np.arange(chips[1].size) % 251).reshape(chips[1].shape)
        single = np.concatenate([self._run(chips[i : i + 1], self._output) for i in range(2)])
        try:
            both = self._run(chips, self._output)
        except WeightsUnreadable:
            return 1
        if both.shape != single.shape:
            return 1
        return None if np.abs(both - single).max() <= _BATCH_TOLERANCE * np.abs(single).max() else 1


def _files(model: Path) -> list[Path]:
    """The model's file and its files of external weights, which must lie beside it.

    Raises WeightsUnreadable for one elsewhere, so that a model cannot read the user's other files.
    """
    try:
        if model.stat().st_size > _MAX_BYTES:
            raise WeightsUnreadable(f"{model} is larger than 2 GiB, the limit of an ONNX file")
        graph = onnx.load_model_from_string(model.read_bytes()).graph
    except OSError as error:
        raise WeightsUnreadable(f"{model} cannot be read: {error.strerror}") from error
    except WeightsUnreadable:
        raise
    except Exception as error:  # errors of protobuf and onnx have no other common base
        raise WeightsUnreadable(f"{model} is not an ONNX model: {one_line(error)}") from error
    files = {model.name: model}
    for location in sorted(set(_external(graph))):
        file = model.parent / location
        if PurePosixPath(location).name != location or "\\" in location or file.is_symlink():
            raise WeightsUnreadable(
                f"{model} reads weights from {location!r}; they must be in a file right beside it"
            )
        if not file.is_file():
            raise WeightsMissing(f"{model} reads weights from {location}, which is not beside it")
        files[location] = file
    return list(files.values())


def _external(graph: onnx.GraphProto) -> Iterator[str]:
    """The locations of tensors outside the model's file."""
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
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = ("CUDAExecutionProvider",) if gpu and has_cuda else ()
    return open_session(model, str(model), threads, providers)


def _input(model: Path, session: onnxruntime.InferenceSession, recipe: Recipe) -> _Input:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs)
        raise WeightsUnreadable(
            f"{model} has {len(inputs)} inputs ({names}), expected one for chips"
        )
    (only,) = inputs
    dtype = _TYPES.get(only.type)
    if dtype is None:
        raise WeightsUnreadable(f"{model} takes {only.type}, expected one of {', '.join(_TYPES)}")
    if dtype is np.uint8 and (set(recipe.mean), set(recipe.scale)) != ({0.0}, {1.0}):
        raise WeightsUnreadable(
            f"{model} takes whole pixels (uint8); set mean = 0 and scale = 1 in {recipe.file}"
        )
    shape: Sequence[Any] = only.shape
    if len(shape) != 4:
        raise WeightsUnreadable(f"{model} takes an input of shape {shape}, expected four extents")
    layout = recipe.layout or _layout(shape)
    if layout is None:
        raise WeightsUnreadable(
            f"{model} has an input of shape {shape}, which does not show where the channels are;"
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
    for stated, extent, word in ((recipe.width, width, "wide"), (recipe.height, height, "high")):
        fixed = extent if isinstance(extent, int) and extent > 0 else None
        if stated is not None and fixed not in (None, stated):
            raise WeightsUnreadable(
                f"{recipe.file}: size = {stated}, but {model.name} takes chips {fixed} pixels"
                f" {word}"
            )
        side = fixed if stated is None else stated
        if side is None:
            raise WeightsUnreadable(f"{recipe.file} lacks size, and {model.name} takes any")
        if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise WeightsUnreadable(
                f"{model} takes chips {side} pixels {word}, expected {SMALLEST_SIDE} to"
                f" {LARGEST_SIDE}"
            )
        sides.append(side)
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    if batch is not None and batch > _MAX_FIXED_BATCH:
        raise WeightsUnreadable(
            f"{model} takes {batch} chips at a time, expected at most {_MAX_FIXED_BATCH}; export it"
            " with a batch of one, or of any size"
        )
    return _Input(only.name, dtype, layout, sides[0], sides[1], batch)


def _layout(shape: Sequence[Any]) -> str | None:
    if shape[1] == 3 and shape[3] != 3:
        return "nchw"
    return "nhwc" if shape[3] == 3 and shape[1] != 3 else None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
