"""The example in the OpenAPI description."""

from __future__ import annotations

from typing import Any

_HOPPER = {"id": 1, "name": "Grace Hopper"}
_FACE = {
    "box": [150.1, 65.9, 363.2, 340.7],
    "landmarks": [[207.1, 168.4], [302.5, 164.9], [261.0, 221.7], [219.9, 264.2], [303.8, 261.0]],
    "probability": 0.999987,
    "sharpness": 212.4,
}
_CANDIDATE = {
    "identity": _HOPPER,
    "face_id": 1,
    "photo": "grace1.jpg",
    "similarity": 0.97,
    "probability": 0.99,
    "verdict": "same",
    "margin": 4.2,
    "years_apart": 2.5,
}
DECISION: dict[str, Any] = {
    "outcome": "match",
    "identity": _HOPPER,
    "probability": 0.99,
    "false_positive_identification_rate": 0.01,
    "photo_false_positive_identification_rate": 0.01,
    "photo": "unknown.jpg",
    "face": _FACE,
    "candidates": [_CANDIDATE],
    "decided_by": _CANDIDATE,
    "runner_up": None,
    "reason": "only Grace Hopper matches, by grace1.jpg",
}
