"""What a photo teaches: signs that an enrolled face is a poor example of its person.

The limits are measured for each built-in encoder on train people: `python -m
tests.bench.photo_quality`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from gallery.encoders.built_in import DLIB_TRAITS, TRAITS
from gallery.package_data import shipped_file
from gallery.store import encoders
from gallery.store.database import Session
from gallery.store.records import FaceRecord
from gallery.types import Fault

QUALITY_FILE = "photo-quality.json"


@dataclass(frozen=True)
class Signs:
    """What is known of an enrolled face; 0 for what is not, as of imported faces.

    sharpness : see gallery.types.Face.  norm, agreement : see gallery.types.Encodings.
    """

    sharpness: float
    norm: float
    agreement: float

    @classmethod
    def of(cls, face: FaceRecord) -> Signs:
        return cls(face.sharpness, face.norm, face.agreement)


@dataclass(frozen=True)
class Limits:
    """least : of each fault, the sign that it is judged by, and the value from which it is none."""

    least: Mapping[Fault, tuple[str, float]]

    def faults(self, signs: Signs) -> tuple[Fault, ...]:
        """Return what is wrong with a face, in the order of the limits."""
        return tuple(
            fault
            for fault, (sign, limit) in self.least.items()
            if 0.0 < getattr(signs, sign) < limit
        )

    def described(self, faults: Collection[Fault], signs: Signs) -> str:
        """Say what is wrong with a face, with the values and the limits."""
        parts = []
        for fault in (Fault.BLURRED,) if Fault.BLURRED in faults else faults:
            sign, limit = self.least[fault]
            value = getattr(signs, sign)
            parts.append(f"{_TEXTS[fault]} ({sign} {value:.3g}, better from {limit:.3g})")
        return ", ".join(parts)


_TEXTS = {
    Fault.BLURRED: "blurred",
    Fault.FAINT: "hard to read: blurred, dark, covered or turned away",
}


def judged(session: Session, records: Iterable[FaceRecord]) -> list[FaceRecord]:
    """The enrolled faces with their faults, by the encoder in use."""
    encoder = encoders.current(session)
    if encoder is None:
        return list(records)
    limits = limits_for(encoder.name)
    return [replace(record, faults=limits.faults(Signs.of(record))) for record in records]


@cache
def limits_for(encoder: str) -> Limits:
    """The limits of an encoder, by name. If it is not built in, only that of sharpness."""
    folder = encoder if encoder in TRAITS else DLIB_TRAITS.name
    stored = json.loads(shipped_file(f"{folder}/{QUALITY_FILE}").read_text(encoding="utf-8"))
    least = {}
    for name, judged_by in stored["limits"].items():
        ((sign, limit),) = judged_by.items()
        if encoder in TRAITS or sign == "sharpness":
            least[Fault(name)] = sign, float(limit)
    return Limits(least)
