"""Step 5 of the walk: the pairwise dense head, (query, candidate) to logits (different, same).

A pair is described by named features. Each is symmetric, so that the verdict does not depend on
which side is the query. Then follow Dense(512, relu), Dropout(0.5) and Dense(2, sigmoid), trained
with binary cross-entropy on one-hot (different, same). A small head is Dense(2, sigmoid) alone. The
verdict is the argmax of the two outputs, which is that of the logits, since the sigmoid is
monotonic. A head averages the logits of its networks, trained from different seeds.
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

from gallery.encoders.built_in import TRAITS
from gallery.encoders.projection import Projection
from gallery.errors import HeadUnusable, InvalidEncoding
from gallery.matching.calibration import Calibration
from gallery.matching.cohort import Cohort
from gallery.types import DIMENSION, Encodings, Float32
from indexer.whole_file import atomic_write

DIFFERENT, SAME = 0, 1
"""The indices of the two outputs."""
_FORM = "pairwise-head-3"
_OLD_FORM = "pairwise-head-2"  # another calibration, the same tensors
_BATCH = 2_048  # pairs; larger batches do not fit the CPU cache
_MEAN, _DEVIATION, _NORM, _AGREEMENT = range(DIMENSION, DIMENSION + 4)
SIDE_WIDTH = DIMENSION + 4
"""One side of a pair: the encoding, its cohort mean and deviation, its norm, its agreement."""


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :DIMENSION] * b[:, :DIMENSION]).sum(dim=1)


def _unnormalised(side: Tensor) -> Tensor:
    """Return the encoding with its original norm."""
    return side[:, :DIMENSION] * side[:, _NORM, None]


def _symmetric(a: Tensor, b: Tensor) -> Tensor:
    """Return two symmetric features of one number per side: (n,), (n,) -> (n, 2)."""
    return torch.stack([(a + b) / 2, (a - b).abs()], dim=1)


def _cohort_z_scores(a: Tensor, b: Tensor) -> Tensor:
    cosine = _cosine(a, b)
    return _symmetric(
        (cosine - a[:, _MEAN]) / a[:, _DEVIATION], (cosine - b[:, _MEAN]) / b[:, _DEVIATION]
    )


_FEATURES: Mapping[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "absolute_difference": (DIMENSION, lambda a, b: (a - b)[:, :DIMENSION].abs()),
    "product": (DIMENSION, lambda a, b: (a * b)[:, :DIMENSION]),
    "distance": (1, lambda a, b: (_unnormalised(a) - _unnormalised(b)).norm(dim=1, keepdim=True)),
    "cosine": (1, lambda a, b: _cosine(a, b)[:, None]),
    # The cosine's z-score among the cosines of each side to its nearest strangers.
    "standing": (2, _cohort_z_scores),
    "norm": (2, lambda a, b: _symmetric(a[:, _NORM], b[:, _NORM])),
    "mean_norm": (1, lambda a, b: (a + b)[:, _NORM, None] / 2),
    "agreement": (2, lambda a, b: _symmetric(a[:, _AGREEMENT], b[:, _AGREEMENT])),
}
FEATURES = tuple(_FEATURES)
"""The names of the features that a head may use."""


class PairNetwork(nn.Module):
    """One network of a head: two batches of sides, float32 (n, SIDE_WIDTH), to logits (n, 2).

    hidden : units of the hidden layer; 0 for none.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, features: Sequence[str], hidden: int, dropout: float) -> None:
        super().__init__()
        if not features or hidden < 0 or not set(features) <= set(FEATURES):
            raise ValueError(
                f"features {list(features)} and {hidden} hidden units; expected a selection of"
                f" {', '.join(FEATURES)}, and no negative number of units"
            )
        self.features = tuple(features)
        width = sum(_FEATURES[name][0] for name in features)
        # Features are standardised: mean 0 and deviation 1 over the training pairs.
        self.register_buffer("offset", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        if hidden:
            self.dense = nn.Linear(width, hidden)
            self.dropout = nn.Dropout(dropout)
        self.hidden = hidden
        self.out = nn.Linear(hidden or width, 2)

    def pair_features(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the pairs' features, float32 (n, width), symmetric in a and b."""
        return torch.cat([_FEATURES[name][1](a, b) for name in self.features], dim=1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.logits(self.pair_features(a, b))

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits, (n, 2), of pairs with these features."""
        x = (features - self.offset).div_(self.scale)
        if self.hidden:
            x = self.dropout(torch.relu_(self.dense(x)))
        logits: Tensor = self.out(x)
        return logits


@dataclass(frozen=True)
class HeadMetadata:
    """A head's metadata.

    encoder, encoder_sha256 : of the encodings that it scores.
    features, hidden : the features and the number of hidden units of its networks.
    calibration : its margins as measured on people it was not trained on.
    """

    encoder: str
    encoder_sha256: str
    features: tuple[str, ...]
    hidden: int
    calibration: Calibration


class Head:
    """A trained head: one or more networks whose logits are averaged.

    cohort : for the feature "standing"; None if no network uses it.
    projection : of a wider network's output to the encodings that the head scores; kept in the
        same file, for making such encodings.
    """

    def __init__(
        self,
        cohort: Cohort | None,
        networks: Sequence[PairNetwork],
        metadata: HeadMetadata,
        projection: Projection | None = None,
    ) -> None:
        self._cohort = cohort
        self._networks = nn.ModuleList(networks).eval()
        self.metadata = metadata
        self.projection = projection

    def recalibrated(self, calibration: Calibration) -> Head:
        """Return the same head with another calibration."""
        metadata = replace(self.metadata, calibration=calibration)
        return Head(self._cohort, self._network_list(), metadata, self.projection)

    def with_projection(self, projection: Projection | None) -> Head:
        """Return the same head with another projection."""
        return Head(self._cohort, self._network_list(), self.metadata, projection)

    def _network_list(self) -> list[PairNetwork]:
        return list(self._networks)  # type: ignore[arg-type]

    def sides(self, encodings: Encodings) -> Float32:
        """Return one side of a pair for each encoding, float32 (n, SIDE_WIDTH).

        Raises InvalidEncoding for values that are not finite.
        """
        sides = sides_of(self._cohort, encodings)
        if not np.isfinite(sides).all():
            rows = np.flatnonzero(~np.isfinite(sides).all(axis=1))
            raise InvalidEncoding(
                f"encoding {rows[0]} is not finite ({len(rows)} of {len(sides)}); encode its photo"
                " again"
            )
        return sides

    def logits(self, a: Float32, b: Float32) -> Float32:
        """Return the logits (different, same) of the pairs (a[i], b[i]), float32 (n, 2)."""
        logits = [np.empty((0, 2), dtype=np.float32)]
        networks = self._network_list()
        with torch.inference_mode():
            for start in range(0, len(a), _BATCH):
                first = torch.from_numpy(a[start : start + _BATCH])
                second = torch.from_numpy(b[start : start + _BATCH])
                features = networks[0].pair_features(first, second)  # the same for all networks
                members = torch.stack([network.logits(features) for network in networks])
                logits.append(members.mean(dim=0).numpy())
        return np.concatenate(logits)

    def margins(self, a: Float32, b: Float32) -> Float32:
        """Return the "same" logits minus the "different" logits, float32 (n,)."""
        logits = self.logits(a, b)
        return logits[:, SAME] - logits[:, DIFFERENT]

    @cached_property
    def sha256(self) -> str:
        """SHA-256, hexadecimal, of everything that its margins depend on."""
        digest = hashlib.sha256(
            repr((self.metadata.encoder_sha256, self.metadata.features)).encode()
        )
        for name, value in sorted(self._state().items()):
            digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()

    def _state(self) -> dict[str, Tensor]:
        cohort = {} if self._cohort is None else self._cohort.state_dict()
        state = {f"cohort.{k}": v for k, v in cohort.items()}
        state |= {f"network.{k}": v for k, v in self._networks.state_dict().items()}
        return {name: value.contiguous() for name, value in state.items()}

    def save(self, file: Path) -> None:
        """Write the head to a file, atomically. Raises OSError."""
        metadata = {
            "form": _FORM,
            "encoder": self.metadata.encoder,
            "encoder_sha256": self.metadata.encoder_sha256,
            "features": json.dumps(self.metadata.features),
            "hidden": str(self.metadata.hidden),
            "calibration": json.dumps(self.metadata.calibration.as_json()),
        }
        state = self._state()
        if self.projection is not None:
            metadata["network_sha256"] = self.projection.network_sha256
            state["projection.matrix"] = torch.from_numpy(self.projection.matrix).contiguous()
        with atomic_write(file) as out:
            out.write(save(state, metadata))


def sides_of(cohort: Cohort | None, encodings: Encodings) -> Float32:
    """Return what Head.sides does, without checking that the values are finite."""
    if cohort is None:
        statistics = np.zeros((len(encodings), 2), dtype=np.float32)
    else:
        statistics = cohort.statistics(encodings.vectors)
    return np.concatenate(
        [
            encodings.vectors,
            statistics,
            encodings.norms[:, None],
            encodings.agreement[:, None],
        ],
        axis=1,
    )


def load_head(file: Path, encoder: str, encoder_sha256: str, spec: str | None = None) -> Head:
    """Read a head for this encoder.

    spec : the encoder's, for the remedy in an error; None for one that has a shipped head.
    Raises HeadUnusable with the reason and the remedy.
    """
    remedy = _remedy(spec)
    state, metadata = _read(file, remedy)
    if metadata["form"] == _OLD_FORM:
        raise HeadUnusable(
            f"{file} was trained by an earlier version, whose calibration is not used any more;"
            f" {remedy}"
        )
    if (metadata.get("encoder"), metadata.get("encoder_sha256")) != (encoder, encoder_sha256):
        raise HeadUnusable(
            f"{file} was made for encoder {metadata.get('encoder')!r}"
            f" ({str(metadata.get('encoder_sha256'))[:12]}), this gallery uses {encoder!r}"
            f" ({encoder_sha256[:12]}); {remedy}"
        )
    try:
        return _head(state, metadata)
    except (KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise HeadUnusable(f"{file} is damaged: {reason}; {remedy}") from error


def load_projection(file: Path, network_sha256: str, spec: str) -> Projection:
    """Read the projection for this network from a head file. Raises HeadUnusable."""
    remedy = _remedy(spec)
    state, metadata = _read(file, remedy)
    if metadata.get("network_sha256") != network_sha256:
        raise HeadUnusable(f"{file} has no projection for {spec}; {remedy}")
    try:
        return _projection(state, metadata)
    except (KeyError, ValueError, TypeError) as error:
        raise HeadUnusable(f"{file} is damaged: {error}; {remedy}") from error


def head_network_sha256(file: Path) -> str | None:
    """Return the SHA-256 of the network that a head file is for; None if it is not a head file."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
    except (OSError, SafetensorError):
        return None
    if metadata.get("form") not in (_FORM, _OLD_FORM):
        return None
    return metadata.get("network_sha256", metadata.get("encoder_sha256"))


def strip_to_projection(file: Path) -> None:
    """Remove everything but the projection from a head file; delete the file if it has none.

    Raises OSError.
    """
    try:
        state, metadata = _read(file, "")
    except HeadUnusable:
        state, metadata = {}, {}
    if "projection.matrix" not in state:
        file.unlink(missing_ok=True)
        return
    metadata = {"form": _FORM, "network_sha256": metadata.get("network_sha256", "")}
    with atomic_write(file) as out:
        out.write(save({"projection.matrix": state["projection.matrix"]}, metadata))


def _remedy(spec: str | None) -> str:
    if spec is None or spec in TRAITS:
        return "train one with `gallery train-head`, or remove that file to use the shipped one"
    return f"train one with `gallery train-head --encoder {spec} PEOPLE_FOLDER`"


def _read(file: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
        state = load_file(file)
    except FileNotFoundError as error:
        raise HeadUnusable(f"{file} does not exist; {remedy}") from error
    except (OSError, SafetensorError) as error:
        raise HeadUnusable(f"{file} is not a head file: {error}; {remedy}") from error
    form = metadata.get("form")
    if form not in (_FORM, _OLD_FORM):
        raise HeadUnusable(f"{file} has form {form!r}, expected {_FORM!r}; {remedy}")
    return state, metadata


def _projection(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Projection:
    matrix = state["projection.matrix"]
    if matrix.dtype != torch.float32:
        raise ValueError(f"a projection of {matrix.dtype}, expected torch.float32")
    return Projection(matrix.numpy(), metadata["network_sha256"])


def _head(state: dict[str, Tensor], metadata: Mapping[str, Any]) -> Head:
    head_metadata = HeadMetadata(
        encoder=metadata["encoder"],
        encoder_sha256=metadata["encoder_sha256"],
        features=tuple(json.loads(metadata["features"])),
        hidden=int(metadata["hidden"]),
        calibration=Calibration.from_json(json.loads(metadata["calibration"])),
    )
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ValueError("its weights are not all finite")
    centres = state.pop("cohort.centres", None)
    cohort = None if centres is None else Cohort(centres.numpy())
    if cohort is None and "standing" in head_metadata.features:
        raise ValueError("it has no cohort")
    projection = _projection(state, metadata) if "network_sha256" in metadata else None
    if projection is not None:
        del state["projection.matrix"]
    members = {name.split(".")[1] for name in state}
    networks = [PairNetwork(head_metadata.features, head_metadata.hidden, 0.0) for _ in members]
    nn.ModuleList(networks).load_state_dict(
        {name.removeprefix("network."): value for name, value in state.items()}
    )
    if not members or not all(bool((network.scale > 0).all()) for network in networks):
        raise ValueError("it has no network, or one with a feature scale of zero")
    return Head(cohort, networks, head_metadata, projection)
