"""Step 5 of the walk: the pairwise dense head, (query, candidate) -> logits (different, same).

What the pair looks like to the head is a list of named features, each the same for (a, b) and
(b, a), so that the verdict does not depend on who is the query. Then Dense(512, relu),
Dropout(0.5) and Dense(2, sigmoid), trained with binary cross-entropy on one-hot (different, same).
The argmax of the two outputs is the verdict; sigmoids are monotonic, so it is that of the logits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gallery.errors import HeadUnusable
from gallery.operating_point import OperatingCurve
from gallery.types import DIMENSION, Encodings, Float32
from indexer.whole_file import written_whole

DIFFERENT, SAME = 0, 1
"""The two outputs' places."""
_FORM = "pairwise-head-1"
_BATCH = 65_536

_FEATURES: Mapping[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "absolute_difference": (DIMENSION, lambda a, b: (a - b).abs()),
    "product": (DIMENSION, lambda a, b: a * b),
    "cosine": (1, lambda a, b: (a * b).sum(dim=1, keepdim=True)),
}
FEATURES = tuple(_FEATURES)
"""The names of what a head may look at."""


class PairNetwork(nn.Module):
    """Two batches of encodings, float32 (n, 128) of unit length, to logits (n, 2)."""

    offset: Tensor
    scale: Tensor

    def __init__(self, features: Sequence[str], hidden: int, dropout: float) -> None:
        super().__init__()
        if not features or hidden < 1 or not set(features) <= set(FEATURES):
            raise ValueError(
                f"features {list(features)} and {hidden} hidden units; expected some of"
                f" {', '.join(FEATURES)} and at least one unit"
            )
        self.features = tuple(features)
        width = sum(_FEATURES[name][0] for name in features)
        # Features to mean 0 and deviation 1 over the training pairs.
        self.register_buffer("offset", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.dense = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, 2)

    def describe(self, a: Tensor, b: Tensor) -> Tensor:
        """The pairs' features, float32 (n, width), symmetric in a and b."""
        return torch.cat([_FEATURES[name][1](a, b) for name in self.features], dim=1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        x = (self.describe(a, b) - self.offset) / self.scale
        logits: Tensor = self.out(self.dropout(torch.relu(self.dense(x))))
        return logits


@dataclass(frozen=True)
class HeadMarks:
    """What a head was made for and of.

    encoder, encoder_sha256 : the encodings it judges.
    curve : how its logits are biased for a gallery's size.
    """

    encoder: str
    encoder_sha256: str
    features: tuple[str, ...]
    hidden: int
    curve: OperatingCurve


class Head:
    """A trained head, ready to judge."""

    def __init__(self, network: PairNetwork, marks: HeadMarks) -> None:
        self._network = network.eval()
        self.marks = marks

    def logits(self, queries: Encodings, candidates: Encodings) -> Float32:
        """Row i judges queries[i] against candidates[i]; float32 (n, 2): (different, same)."""
        judged = [np.empty((0, 2), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(queries), _BATCH):
                a = torch.from_numpy(queries.vectors[start : start + _BATCH])
                b = torch.from_numpy(candidates.vectors[start : start + _BATCH])
                judged.append(self._network(a, b).numpy())
        return np.concatenate(judged)

    def save(self, file: Path) -> None:
        """Write it at once or not at all. Raises OSError."""
        marks = {
            "form": _FORM,
            "encoder": self.marks.encoder,
            "encoder_sha256": self.marks.encoder_sha256,
            "features": json.dumps(self.marks.features),
            "hidden": str(self.marks.hidden),
            "curve": json.dumps(self.marks.curve.as_json()),
        }
        state = {name: value.contiguous() for name, value in self._network.state_dict().items()}
        with written_whole(file) as out:
            out.write(save(state, marks))


def load_head(file: Path, encoder: str, encoder_sha256: str) -> Head:
    """Read a head for this encoder. Raises HeadUnusable with the reason and the remedy."""
    remedy = "train one with `gallery train-head`, or use the shipped one"
    try:
        with safe_open(file, framework="pt") as opened:
            found = opened.metadata() or {}
        state = load_file(file)
    except FileNotFoundError as error:
        raise HeadUnusable(f"{file} is not there; {remedy}") from error
    except (OSError, SafetensorError) as error:
        raise HeadUnusable(f"{file} is no head: {error}; {remedy}") from error
    if found.get("form") != _FORM:
        raise HeadUnusable(f"{file} has form {found.get('form')!r}, expected {_FORM!r}; {remedy}")
    if (found.get("encoder"), found.get("encoder_sha256")) != (encoder, encoder_sha256):
        raise HeadUnusable(
            f"{file} was made for encoder {found.get('encoder')!r}, this gallery uses {encoder!r};"
            f" {remedy}"
        )
    try:
        marks = _marks(found)
        network = PairNetwork(marks.features, marks.hidden, dropout=0.0)
        network.load_state_dict(state)
        if not all(bool(torch.isfinite(value).all()) for value in state.values()):
            raise ValueError("it has weights that are not finite")
        if not bool((network.scale > 0).all()):
            raise ValueError("it divides a feature by zero")
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise HeadUnusable(f"{file} is damaged: {reason}; {remedy}") from error
    return Head(network, marks)


def _marks(found: Mapping[str, Any]) -> HeadMarks:
    return HeadMarks(
        encoder=found["encoder"],
        encoder_sha256=found["encoder_sha256"],
        features=tuple(json.loads(found["features"])),
        hidden=int(found["hidden"]),
        curve=OperatingCurve.from_json(json.loads(found["curve"])),
    )
