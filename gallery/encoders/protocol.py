"""What every encoder's network is to the rest of the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gallery.encoders.template import Template
from gallery.errors import InvalidEncoding
from gallery.types import Float32, UInt8


@dataclass(frozen=True)
class Traits:
    """What is known of a network without running it.

    name : its kind, such as "dlib-resnet" or "onnx".
    spec : what `--encoder` takes to open it again, with whole paths.
    sha256 : of its weights and of everything that prepares their input, hexadecimal.
    template : the chip it wants.
    dimension : how many numbers it gives of a face.
    licence_code, licence_weights : who may use each.
    accuracy : what is known of it, and who measured it.
    """

    name: str
    spec: str
    sha256: str
    template: Template
    dimension: int
    licence_code: str
    licence_weights: str
    accuracy: str


class Network(Protocol):
    """Chips in, numbers out; the same chips always have the same numbers."""

    @property
    def traits(self) -> Traits:
        """What it is."""
        ...

    def raw(self, chips: UInt8) -> Float32:
        """One row a chip, not normalised: uint8 (n, height, width, 3), RGB -> float32 (n, d)."""
        ...


def checked_chips(chips: UInt8, template: Template) -> UInt8:
    """The chips. Raises InvalidEncoding when they are not this template's."""
    wanted = (template.height, template.width, 3)
    if chips.ndim != 4 or chips.shape[1:] != wanted:
        raise InvalidEncoding(
            f"chips of shape {chips.shape}, expected (n, {', '.join(map(str, wanted))})"
        )
    return chips
