"""Where the milliseconds of a query go, and what share of the processor's peak the networks reach.

Times are those of the processor, so that what else the machine does counts for little. FLOPs are
those of convolutions and dense layers in the exported networks, at the shapes that were used.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import shape_inference

import gallery.vision.detection
import gallery.vision.pipeline
from gallery import Gallery
from gallery.vision.area import Planes

PYRAMID, SECOND_LOOKS = "pyramid and crops", "second looks"
PNET, RNET, ONET, ENCODER = "PNet", "RNet", "ONet", "encoder's network"
PARTS = (
    *("decode", PYRAMID, PNET, RNET, ONET, SECOND_LOOKS, "rest of detection", "align"),
    *(ENCODER, "rest of encoding", "search", "judge", "rest"),
)
_FILES = {PNET: "mtcnn-pnet", RNET: "mtcnn-rnet", ONET: "mtcnn-onet"}
_MATRIX, _PRODUCTS = 1024, 20

Shape = tuple[str, int, int]
"""A network, and the height and width of its input."""


class Clock:
    """Seconds of this thread in each part. Of a part within another, only the inner one's count.

    The second looks are one part, with all that they do.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.inputs: Counter[Shape] = Counter()
        self._within: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        if SECOND_LOOKS in self._within:
            yield
            return
        self._count()
        self.calls[name] += 1
        self._within.append(name)
        try:
            yield
        finally:
            self._count()
            self._within.pop()

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted as this part."""

        def run(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return call(*arguments, **options)

        return run

    def network(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        """As timed, and its inputs are counted too."""
        timed = self.timed(name, run)

        def counted(values: np.ndarray[Any, Any]) -> Any:
            if SECOND_LOOKS not in self._within:
                self.inputs[name, values.shape[2], values.shape[3]] += len(values)
            return timed(values)

        return counted

    def _count(self) -> None:
        now = time.thread_time()
        if self._within:
            self.seconds[self._within[-1]] += now - self._since
        self._since = now


def listen(gallery_: Gallery) -> Clock:
    """Put a clock around the parts of this process's gallery, for good."""
    clock = Clock()
    parts = gallery_._runtime.parts()
    pipeline, identifier = parts.pipeline.get(), parts.identifier.get()
    detector, encoder = pipeline._detector, pipeline.encoder.network
    cascade = detector._cascade
    networks = cascade._networks
    cascade._networks = replace(
        networks,
        proposing=clock.network(PNET, networks.proposing),
        refining=clock.network(RNET, networks.refining),
        locating=clock.network(ONET, networks.locating),
    )
    encoder._run = clock.network(ENCODER, encoder._run)
    for owner, method, name in (
        (pipeline, "open", "decode"),
        (Planes, "__init__", PYRAMID),
        (Planes, "shrunk", PYRAMID),
        (detector, "_look_again", SECOND_LOOKS),
        (pipeline, "faces", "rest of detection"),
        (gallery.vision.detection, "align", "align"),
        (gallery.vision.pipeline, "align", "align"),
        (pipeline, "encode", "rest of encoding"),
        (identifier._search, "find", "search"),
        (identifier, "decide_on", "judge"),
    ):
        setattr(owner, method, clock.timed(name, getattr(owner, method)))
    return clock


def measured(gallery_: Gallery, sets: dict[str, list[str]]) -> dict[str, Any]:
    """Milliseconds a photo by set and part, and the share of the peak by network.

    sets : the photos of each, by its name.
    """
    before = _peak()
    clock = listen(gallery_)
    results: dict[str, Any] = {}
    for name, photos in sets.items():
        for photo in photos[:2]:
            gallery_.query_all(photo)
        for counts in (clock.seconds, clock.calls, clock.inputs):
            counts.clear()
        for photo in photos:
            with clock.part("rest"):
                gallery_.query_all(photo)
        results[name] = {
            "photos": len(photos),
            "with_second_looks": clock.calls[SECOND_LOOKS],
            "milliseconds": {
                part: round(1000 * clock.seconds[part] / len(photos), 3) for part in PARTS
            },
            "gflops": _gflops(gallery_, clock.inputs),
            "seconds": {net: clock.seconds[net] for net in (*_FILES, ENCODER)},
        }
    peak = max(before, _peak())
    for result in results.values():
        seconds = result.pop("seconds")
        result["share_of_the_peak"] = {
            net: round(gflops / seconds[net] / peak, 3)
            for net, gflops in result["gflops"].items()
            if seconds[net]
        }
        result["gflops"] = {
            net: round(gflops / result["photos"], 4) for net, gflops in result["gflops"].items()
        }
    return {"peak_gflops": round(peak, 1), "sets": results}


def _peak() -> float:
    """The GFLOP/s of a product of large float32 matrices, in one thread."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, _MATRIX, _MATRIX), np.float32)
    times = []
    for _ in range(_PRODUCTS):
        start = time.thread_time()
        first @ second
        times.append(time.thread_time() - start)
    return 2e-9 * _MATRIX**3 / min(times)


def _gflops(gallery_: Gallery, inputs: Counter[Shape]) -> dict[str, float]:
    """Of all inputs, by network."""
    traits = gallery_.pipeline.encoder.network.traits
    files = {**_FILES, ENCODER: traits.name}
    totals: dict[str, float] = {}
    for (net, height, width), images in inputs.items():
        flops = _flops(gallery_.settings.cache / "networks", files[net], height, width)
        totals[net] = totals.get(net, 0.0) + 1e-9 * flops * images
    return totals


def _flops(folder: Path, name: str, height: int, width: int) -> int:
    """Twice the multiplications of one image's convolutions and dense layers.

    Convolutions that stand for a PReLU (gallery.networks.export) are not counted.
    """
    (file,) = folder.glob(f"{name}-*.onnx")
    model = onnx.load(file)
    for dim, length in zip(
        model.graph.input[0].type.tensor_type.shape.dim, (1, 3, height, width), strict=True
    ):
        dim.dim_value = length
    graph = shape_inference.infer_shapes(model).graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    pixels = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][2:]
        for value in (*graph.value_info, *graph.output)
    }
    flops = 0
    for node in graph.node:
        if node.op_type == "Conv":
            _, inside, *kernel = shape = weights[node.input[1]]
            if inside > 1 or kernel != [1, 1]:
                flops += 2 * int(np.prod(shape)) * int(np.prod(pixels[node.output[0]]))
        elif node.op_type in ("Gemm", "MatMul"):
            flops += 2 * int(np.prod(weights[node.input[1]]))
    return flops
