"""The interface of an encoder's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gallery.encoders.template import Template
from gallery.errors import InvalidEncoding
from gallery.types import Float32, UInt8


@dataclass(frozen=True)
class Views:
    """How many views are averaged for a probe and for an enrolled face."""

    probe: int
    enrolled: int


@dataclass(frozen=True)
class Traits:
    """The properties of a network.

    name : its kind, such as "dlib-resnet" or "onnx".
    spec : the value of `--encoder` that opens it again, with absolute paths.
    sha256 : of its weights and of everything that prepares their input, hexadecimal.
    template : of the chip it takes.
    dimension : how many numbers it returns for a face.
    licence_code, licence_weights : the terms of use.
    accuracy : what is known of it, and who measured it.
    near_identical : 99 of 100 pairs of altered copies of one photo have at least this cosine, and
        hardly any pair of different photos has; None if it was not measured.
    views : how many views pay, where the settings name no number.
    """

    name: str
    spec: str
    sha256: str
    template: Template
    dimension: int
    licence_code: str
    licence_weights: str
    accuracy: str
    near_identical: float | None = None
    views: Views = Views(probe=2, enrolled=10)


class Network(Protocol):
    """Deterministic: the same chips always give the same numbers."""

    @property
    def traits(self) -> Traits:
        """See Traits."""
        ...

    def raw(self, chips: UInt8) -> Float32:
        """One row a chip, not normalised: uint8 (n, height, width, 3), RGB -> float32 (n, d)."""
        ...


def check_chips(chips: UInt8, template: Template) -> None:
    """Raise InvalidEncoding unless the chips have the template's size."""
    if chips.ndim != 4 or chips.shape[1:] != (template.height, template.width, 3):
        raise InvalidEncoding(
            f"chips of shape {chips.shape}, expected (n, {template.height}, {template.width}, 3)"
        )
