"""Read the face network from dlib's serialised ``.dat`` file, without dlib.

The format is dlib's own (``dlib/serialize.h`` and ``dlib/dnn/*.h``, Boost licence):

- integer: a header byte (low four bits: number of magnitude bytes; 0x80: negative), then the
  little-endian magnitude;
- floating-point number: an integer mantissa and an integer exponent of two;
- tensor: a version, four extents, then raw little-endian float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gallery.errors import WeightsUnreadable

Float32 = npt.NDArray[np.float32]

_HEADER = "loss_metric_2"
_INPUT = "input_rgb_image_sized"
_INNERMOST = 3
_EXPONENT_INFINITY, _EXPONENT_MINUS_INFINITY, _EXPONENT_NAN = 32000, 32001, 32002


@dataclass(frozen=True)
class Layer:
    """One layer record, innermost first.

    kind : the layer's name without dlib's version suffix, such as ``"con"`` or ``"affine"``.
    shape : the layer's integers: con (filters, rows, columns, stride_y, stride_x, pad_y, pad_x),
        pools (rows, columns, stride_y, stride_x, pad_y, pad_x), fc (outputs, inputs), else ().
    parameters : float32, flat; empty for layers without parameters.
    """

    kind: str
    shape: tuple[int, ...]
    parameters: Float32


@dataclass(frozen=True)
class DlibNetwork:
    """The content of the file.

    mean : RGB, to subtract from pixels. side : of the square input, in pixels.
    """

    mean: tuple[float, float, float]
    side: int
    layers: tuple[Layer, ...]


def read_network(content: bytes) -> DlibNetwork:
    """Parse a whole ``.dat`` file.

    Raises WeightsUnreadable when the bytes are not this network, or go on after it.
    """
    try:
        reader = _Reader(content)
        network = _read_network(reader)
    except (IndexError, ValueError, OverflowError, UnicodeDecodeError) as error:
        raise WeightsUnreadable(f"not dlib's face network: {error}") from error
    if reader.position != len(content):
        raise WeightsUnreadable(
            f"not dlib's face network: it ends at byte {reader.position} of {len(content)}"
        )
    return network


def _read_network(reader: _Reader) -> DlibNetwork:
    reader.expect_integer(1)
    reader.expect_string(_HEADER)
    reader.floating()  # margin
    reader.floating()  # distance threshold of the training loss
    while reader.integer() != _INNERMOST:  # one version number per layer, outermost first
        pass
    reader.expect_string(_INPUT)
    mean = (reader.floating(), reader.floating(), reader.floating())
    rows, columns = reader.integer(), reader.integer()
    if rows != columns:
        raise ValueError(f"input of {rows} x {columns} pixels is not square")
    return DlibNetwork(mean=mean, side=rows, layers=tuple(_read_layers(reader)))


def _read_layers(reader: _Reader) -> Iterator[Layer]:
    innermost = True
    while not reader.at_end():
        layer = _read_details(reader)
        for _ in range(3):
            reader.boolean()
        reader.tensor()  # x_grad
        reader.tensor()  # cached_output
        reader.tensor()  # params_grad; grad_final on the innermost layer
        if innermost:
            reader.integer()
            innermost = False
        yield layer


def _read_details(reader: _Reader) -> Layer:
    name = reader.string()
    kind = name.rstrip("0123456789").rstrip("_")
    empty = np.empty(0, dtype=np.float32)
    match kind:
        case "con":
            parameters = reader.tensor()
            shape = tuple(reader.integer() for _ in range(7))
            reader.alias_tensor()
            reader.alias_tensor()
            for _ in range(4):
                reader.floating()
            return Layer(kind, shape, parameters)
        case "affine":
            parameters = reader.tensor()
            reader.alias_tensor()
            reader.alias_tensor()
            reader.integer()
            return Layer(kind, (), parameters)
        case "relu" | "add_prev":
            return Layer(kind, (), empty)
        case "max_pool" | "avg_pool":
            return Layer(kind, tuple(reader.integer() for _ in range(6)), empty)
        case "fc":
            outputs, inputs = reader.integer(), reader.integer()
            parameters = reader.tensor()
            reader.alias_tensor()
            reader.alias_tensor()
            reader.integer()
            for _ in range(4):
                reader.floating()
            return Layer(kind, (outputs, inputs), parameters)
    raise ValueError(f"unknown layer {name!r} before byte {reader.position}")


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def at_end(self) -> bool:
        return self.position >= len(self._content)

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._content):
            raise IndexError(f"the file ends at byte {len(self._content)}, expected {end} or more")
        chunk = self._content[self.position : end]
        self.position = end
        return chunk

    def integer(self) -> int:
        header = self._take(1)[0]
        magnitude = int.from_bytes(self._take(header & 0x0F), "little")
        return -magnitude if header & 0x80 else magnitude

    def floating(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        match exponent:
            case x if x == _EXPONENT_INFINITY:
                return math.inf
            case x if x == _EXPONENT_MINUS_INFINITY:
                return -math.inf
            case x if x == _EXPONENT_NAN:
                return math.nan
        return math.ldexp(mantissa, exponent)

    def boolean(self) -> bool:
        value = self._take(1)
        if value not in (b"0", b"1"):
            raise ValueError(f"byte {self.position - 1} is not a boolean")
        return value == b"1"

    def string(self) -> str:
        return self._take(self.integer()).decode("ascii")

    def tensor(self) -> Float32:
        self.expect_integer(2)
        extents = [self.integer() for _ in range(4)]
        if min(extents) < 0:
            raise ValueError(f"a tensor has negative extents {extents}")
        raw = self._take(4 * math.prod(extents))
        return np.frombuffer(raw, dtype="<f4").astype(np.float32)

    def alias_tensor(self) -> None:
        self.expect_integer(1)
        for _ in range(4):
            self.integer()

    def expect_integer(self, expected: int) -> None:
        value = self.integer()
        if value != expected:
            raise ValueError(f"{value} instead of {expected} before byte {self.position}")

    def expect_string(self, expected: str) -> None:
        value = self.string()
        if value != expected:
            raise ValueError(f"{value!r} instead of {expected!r} before byte {self.position}")
