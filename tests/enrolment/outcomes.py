"""What tests ask of an enrolment of a folder."""

from __future__ import annotations

from pathlib import Path

from gallery import Gallery
from gallery.types import Enrolment


def outcomes(enrolments: list[Enrolment]) -> dict[str, str]:
    return {Path(e.photo).name: e.outcome.value for e in enrolments}


def faces_by_name(gallery: Gallery) -> dict[str, int]:
    return {record.name: record.faces for record in gallery.identities()}
