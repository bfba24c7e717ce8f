"""Step 5 of the walk: the pairwise dense head, (query, candidate) -> logits (different, same).

What the pair looks like to the head is a list of named features, each the same for (a, b) and
(b, a), so that the verdict does not depend on who is the query. Then Dense(512, relu),
Dropout(0.5) and Dense(2, sigmoid), trained with binary cross-entropy on one-hot (different, same).
The argmax of the two outputs is the verdict; sigmoids are monotonic, so it is that of the logits.
Several such networks, trained from different seeds, are averaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gallery.encoders.projection import Projection
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import HeadUnusable, InvalidEncoding
from gallery.matching.cohort import Cohort
from gallery.matching.operating_point import Calibration
from gallery.types import DIMENSION, Encodings, Float32
from indexer.whole_file import written_whole

DIFFERENT, SAME = 0, 1
"""The two outputs' places."""
_FORM = "pairwise-head-2"
_BATCH = 2_048  # of pairs; larger ones leave the cores' caches
_MEAN, _DEVIATION, _NORM, _AGREEMENT = range(DIMENSION, DIMENSION + 4)
SIDE_WIDTH = DIMENSION + 4
"""One side of a pair: the encoding, its standing in the cohort (2), its norm, its agreement."""


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :DIMENSION] * b[:, :DIMENSION]).sum(dim=1)


def _raw(side: Tensor) -> Tensor:
    """The encoding as long as the network gave it."""
    return side[:, :DIMENSION] * side[:, _NORM, None]


def _both_ways(a: Tensor, b: Tensor) -> Tensor:
    """Two numbers, one a side, in a form that does not tell the sides apart."""
    return torch.stack([(a + b) / 2, (a - b).abs()], dim=1)


def _standing(a: Tensor, b: Tensor) -> Tensor:
    cosine = _cosine(a, b)
    return _both_ways(
        (cosine - a[:, _MEAN]) / a[:, _DEVIATION], (cosine - b[:, _MEAN]) / b[:, _DEVIATION]
    )


_FEATURES: Mapping[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "absolute_difference": (DIMENSION, lambda a, b: (a - b)[:, :DIMENSION].abs()),
    "product": (DIMENSION, lambda a, b: (a * b)[:, :DIMENSION]),
    "distance": (1, lambda a, b: (_raw(a) - _raw(b)).norm(dim=1, keepdim=True)),
    "cosine": (1, lambda a, b: _cosine(a, b)[:, None]),
    # How many deviations the cosine is above each side's to the nearest strangers.
    "standing": (2, _standing),
    "norm": (2, lambda a, b: _both_ways(a[:, _NORM], b[:, _NORM])),
    "agreement": (2, lambda a, b: _both_ways(a[:, _AGREEMENT], b[:, _AGREEMENT])),
}
FEATURES = tuple(_FEATURES)
"""The names of what a head may look at."""


class PairNetwork(nn.Module):
    """Two batches of sides, float32 (n, SIDE_WIDTH), to logits (n, 2)."""

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
        return self.judge(self.describe(a, b))

    def judge(self, described: Tensor) -> Tensor:
        """Logits, (n, 2), of pairs whose features are known."""
        x = (described - self.offset).div_(self.scale)
        logits: Tensor = self.out(self.dropout(torch.relu_(self.dense(x))))
        return logits


@dataclass(frozen=True)
class HeadMarks:
    """What a head was made for and of.

    encoder, encoder_sha256 : the encodings it judges.
    calibration : what is known of its margins on people it was not trained on.
    """

    encoder: str
    encoder_sha256: str
    features: tuple[str, ...]
    hidden: int
    calibration: Calibration


class Head:
    """A trained head, ready to judge: a cohort and the mean of one or more networks."""

    def __init__(
        self,
        cohort: Cohort,
        networks: Sequence[PairNetwork],
        marks: HeadMarks,
        projection: Projection | None = None,
    ) -> None:
        """projection : of the encodings that it judges, for those who have to make some."""
        self._cohort = cohort
        self._networks = nn.ModuleList(networks).eval()
        self.marks = marks
        self.projection = projection

    def recalibrated(self, calibration: Calibration) -> Head:
        """The same networks with another calibration."""
        marks = replace(self.marks, calibration=calibration)
        return Head(self._cohort, self._each(), marks, self.projection)

    def with_projection(self, projection: Projection | None) -> Head:
        """The same head, in one file with a projection."""
        return Head(self._cohort, self._each(), self.marks, projection)

    def _each(self) -> list[PairNetwork]:
        return list(self._networks)  # type: ignore[arg-type]

    def sides(self, encodings: Encodings) -> Float32:
        """What the head knows of each encoding by itself, float32 (n, SIDE_WIDTH).

        Raises InvalidEncoding for what is not finite.
        """
        sides = sides_of(self._cohort, encodings)
        if not np.isfinite(sides).all():
            bad = np.flatnonzero(~np.isfinite(sides).all(axis=1))
            raise InvalidEncoding(
                f"encoding {bad[0]} is not finite ({len(bad)} of {len(sides)}); encode its photo"
                " again"
            )
        return sides

    def logits(self, a: Float32, b: Float32) -> Float32:
        """Row i judges side a[i] against side b[i]; float32 (n, 2): (different, same)."""
        judged = [np.empty((0, 2), dtype=np.float32)]
        networks = self._each()
        with torch.inference_mode():
            for start in range(0, len(a), _BATCH):
                first = torch.from_numpy(a[start : start + _BATCH])
                second = torch.from_numpy(b[start : start + _BATCH])
                described = networks[0].describe(first, second)  # they all look at the same
                each = [network.judge(described) for network in networks]
                judged.append(torch.stack(each).mean(dim=0).numpy())
        return np.concatenate(judged)

    def margins(self, a: Float32, b: Float32) -> Float32:
        """The "same" logits less the "different" ones, float32 (n,)."""
        logits = self.logits(a, b)
        return logits[:, SAME] - logits[:, DIFFERENT]

    @cached_property
    def sha256(self) -> str:
        """Of everything that its margins depend on, hexadecimal."""
        digest = hashlib.sha256(repr((self.marks.encoder_sha256, self.marks.features)).encode())
        for name, value in sorted(self._state().items()):
            digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()

    def _state(self) -> dict[str, Tensor]:
        state = {f"cohort.{k}": v for k, v in self._cohort.state_dict().items()}
        state |= {f"network.{k}": v for k, v in self._networks.state_dict().items()}
        return {name: value.contiguous() for name, value in state.items()}

    def save(self, file: Path) -> None:
        """Write it at once or not at all. Raises OSError."""
        marks = {
            "form": _FORM,
            "encoder": self.marks.encoder,
            "encoder_sha256": self.marks.encoder_sha256,
            "features": json.dumps(self.marks.features),
            "hidden": str(self.marks.hidden),
            "calibration": json.dumps(self.marks.calibration.as_json()),
        }
        state = self._state()
        if self.projection is not None:
            marks["network_sha256"] = self.projection.network_sha256
            state["projection.matrix"] = torch.from_numpy(self.projection.matrix).contiguous()
        with written_whole(file) as out:
            out.write(save(state, marks))


def sides_of(cohort: Cohort, encodings: Encodings) -> Float32:
    """See Head.sides; here what is not finite is let through."""
    return np.concatenate(
        [
            encodings.vectors,
            cohort.statistics(encodings.vectors),
            encodings.norms[:, None],
            encodings.agreement[:, None],
        ],
        axis=1,
    )


def load_head(file: Path, encoder: str, encoder_sha256: str, spec: str | None = None) -> Head:
    """Read a head for this encoder. Raises HeadUnusable with the reason and the remedy.

    spec : what opens the encoder, for the remedy; None of the default.
    """
    remedy = _remedy(spec)
    state, found = _opened(file, remedy)
    if (found.get("encoder"), found.get("encoder_sha256")) != (encoder, encoder_sha256):
        raise HeadUnusable(
            f"{file} was made for encoder {found.get('encoder')!r}"
            f" ({str(found.get('encoder_sha256'))[:12]}), this gallery uses {encoder!r}"
            f" ({encoder_sha256[:12]}); {remedy}"
        )
    try:
        return _head(state, found)
    except (KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise HeadUnusable(f"{file} is damaged: {reason}; {remedy}") from error


def load_projection(file: Path, network_sha256: str, spec: str) -> Projection:
    """The projection in a head's file, for this network. Raises HeadUnusable."""
    remedy = _remedy(spec)
    state, found = _opened(file, remedy)
    if found.get("network_sha256") != network_sha256:
        raise HeadUnusable(f"{file} has no projection for {spec}; {remedy}")
    try:
        return _projection(state, found)
    except (KeyError, ValueError, TypeError) as error:
        raise HeadUnusable(f"{file} is damaged: {error}; {remedy}") from error


def network_of(file: Path) -> str | None:
    """SHA-256 of the network whose encodings a head's file is for; None when it is no head."""
    try:
        with safe_open(file, framework="pt") as opened:
            found: dict[str, str] = opened.metadata() or {}
    except (OSError, SafetensorError):
        return None
    if found.get("form") != _FORM:
        return None
    return found.get("network_sha256", found.get("encoder_sha256"))


def keep_projection(file: Path) -> None:
    """Leave nothing of a head but the projection in its file, if it has one. Raises OSError."""
    try:
        state, found = _opened(file, "")
    except HeadUnusable:
        state, found = {}, {}
    if "projection.matrix" not in state:
        file.unlink(missing_ok=True)
        return
    marks: dict[str, str] = {"form": _FORM, "network_sha256": found.get("network_sha256", "")}
    with written_whole(file) as out:
        out.write(save({"projection.matrix": state["projection.matrix"]}, marks))


def _remedy(spec: str | None) -> str:
    if spec is None or spec == DLIB_RESNET.name:
        return "train one with `gallery train-head`, or use the shipped one"
    return f"make one with `gallery train-head --encoder {spec} PEOPLE_FOLDER`"


def _opened(file: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            found: dict[str, str] = opened.metadata() or {}
        state = load_file(file)
    except FileNotFoundError as error:
        raise HeadUnusable(f"{file} is not there; {remedy}") from error
    except (OSError, SafetensorError) as error:
        raise HeadUnusable(f"{file} is no head: {error}; {remedy}") from error
    if found.get("form") != _FORM:
        raise HeadUnusable(f"{file} has form {found.get('form')!r}, expected {_FORM!r}; {remedy}")
    return state, found


def _projection(state: Mapping[str, Tensor], found: Mapping[str, str]) -> Projection:
    matrix = state["projection.matrix"]
    if matrix.dtype != torch.float32:
        raise ValueError(f"a projection of {matrix.dtype}, expected torch.float32")
    return Projection(matrix.numpy(), found["network_sha256"])


def _head(state: dict[str, Tensor], found: Mapping[str, Any]) -> Head:
    marks = HeadMarks(
        encoder=found["encoder"],
        encoder_sha256=found["encoder_sha256"],
        features=tuple(json.loads(found["features"])),
        hidden=int(found["hidden"]),
        calibration=Calibration.from_json(json.loads(found["calibration"])),
    )
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ValueError("it has weights that are not finite")
    cohort = Cohort(state.pop("cohort.centres").numpy())
    projection = _projection(state, found) if "network_sha256" in found else None
    if projection is not None:
        del state["projection.matrix"]
    members = {name.split(".")[1] for name in state}
    networks = [PairNetwork(marks.features, marks.hidden, 0.0) for _ in members]
    nn.ModuleList(networks).load_state_dict(
        {name.removeprefix("network."): value for name, value in state.items()}
    )
    if not members or not all(bool((network.scale > 0).all()) for network in networks):
        raise ValueError("it has no network, or one that divides a feature by zero")
    return Head(cohort, networks, marks, projection)
