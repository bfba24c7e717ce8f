"""Read dlib's face networks from their serialised ``.dat`` files, without dlib.

The format is dlib's own (``dlib/serialize.h`` and ``dlib/dnn/*.h``, Boost licence):

- integer: a header byte (low four bits: number of magnitude bytes; 0x80: negative), then the
  little-endian magnitude;
- floating-point number: an integer mantissa and an integer exponent of two;
- tensor: a version, four extents, then raw little-endian float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gallery.errors import WeightsUnreadable

Float32 = npt.NDArray[np.float32]

_ENCODER, _ENCODER_INPUT = "loss_metric_2", "input_rgb_image_sized"
_DETECTOR, _DETECTOR_INPUT = "loss_mmod_", "input_rgb_image_pyramid"
_INNERMOST = 3
_EXPONENT_INFINITY, _EXPONENT_MINUS_INFINITY, _EXPONENT_NAN = 32000, 32001, 32002


@dataclass(frozen=True)
class Layer:
    """One layer record, innermost first.

    kind : the layer's name without dlib's version suffix, such as ``"con"`` or ``"affine"``. A
        batch normalisation is read as the affine layer that it is after training.
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

    mean : RGB, to subtract from pixels. side : of the encoder's square input, or of the square
        window in which the detector finds a face, in pixels.
    """

    mean: tuple[float, float, float]
    side: int
    layers: tuple[Layer, ...]


def read_network(content: bytes) -> DlibNetwork:
    """Parse the whole ``.dat`` file of the face encoder.

    Raises WeightsUnreadable when the bytes are not this network, or go on after it.
    """
    return _read(content, _read_encoder)


def read_detector(content: bytes) -> DlibNetwork:
    """Parse the whole ``.dat`` file of the face detector. Raises as read_network does."""
    return _read(content, _read_detector)


def _read(content: bytes, read: Callable[[_Reader], DlibNetwork]) -> DlibNetwork:
    try:
        reader = _Reader(content)
        network = read(reader)
    except (IndexError, ValueError, OverflowError, UnicodeDecodeError) as error:
        raise WeightsUnreadable(f"not dlib's face network: {error}") from error
    if reader.position != len(content):
        raise WeightsUnreadable(
            f"not dlib's face network: it ends at byte {reader.position} of {len(content)}"
        )
    return network


def _read_encoder(reader: _Reader) -> DlibNetwork:
    reader.expect_integer(1)
    reader.expect_string(_ENCODER)
    reader.floating()  # margin
    reader.floating()  # distance threshold of the training loss
    mean = _read_input(reader, _ENCODER_INPUT)
    side = _read_side(reader)
    return DlibNetwork(mean, side, tuple(_read_layers(reader)))


def _read_detector(reader: _Reader) -> DlibNetwork:
    reader.expect_integer(1)
    reader.expect_string(_DETECTOR)
    reader.expect_integer(1)
    side = _read_side(reader)
    for _ in range(7):  # of the training loss, and dlib's own suppression of overlapping boxes
        reader.floating()
    mean = _read_input(reader, _DETECTOR_INPUT)
    return DlibNetwork(mean, side, tuple(_read_layers(reader)))


def _read_input(reader: _Reader, name: str) -> tuple[float, float, float]:
    """The mean that the input layer subtracts."""
    while reader.integer() != _INNERMOST:  # one version number per layer, outermost first
        pass
    reader.expect_string(name)
    return reader.floating(), reader.floating(), reader.floating()


def _read_side(reader: _Reader) -> int:
    rows, columns = reader.integer(), reader.integer()
    if rows != columns:
        raise ValueError(f"input of {rows} x {columns} pixels is not square")
    return rows


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
        case "bn_con":
            return Layer("affine", (), _read_normalisation(reader))
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


def _read_normalisation(reader: _Reader) -> Float32:
    """A batch normalisation as an affine layer: factors and offsets, float32, flat."""
    gamma, beta = reader.tensor().reshape(2, -1)
    reader.alias_tensor()
    reader.alias_tensor()
    reader.tensor()  # means and deviations of the last batch
    reader.tensor()
    mean, variance = reader.tensor(), reader.tensor()
    for _ in range(2):
        reader.integer()
    for _ in range(4):
        reader.floating()
    factor = gamma / np.sqrt(variance + np.float32(reader.floating()))
    return np.concatenate([factor, beta - factor * mean])


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
