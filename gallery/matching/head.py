"""Step 5 of the walk: the pairwise dense head, (query, candidate) to logits (different, same).

A pair is described by named features (`pair_features`). Then follow Dense(512, relu), Dropout(0.5)
and Dense(2, sigmoid), trained with binary cross-entropy on one-hot (different, same). A small head
is Dense(2, sigmoid) alone. The verdict is the argmax of the two outputs, which is that of the
logits, since the sigmoid is monotonic. A head averages the logits of its networks, trained from
different seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gallery.encoders.built_in import TRAITS
from gallery.encoders.projection import Projection
from gallery.errors import HeadUnusable, InvalidEncoding
from gallery.matching.calibration import Calibration
from gallery.matching.cohort import Cohort
from gallery.matching.dense_network import DenseNetwork
from gallery.matching.pair_features import features_width, pair_features, sides_of
from gallery.types import Encodings, Float32
from indexer.whole_file import atomic_write

DIFFERENT, SAME = 0, 1
"""The indices of the two outputs."""
_FORM = "pairwise-head-3"
_OLD_FORM = "pairwise-head-2"  # another calibration, the same tensors
_BATCH = 512  # pairs; larger batches do not fit the CPU cache


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


@dataclass(frozen=True, eq=False)
class Head:
    """A trained head: one or more networks whose logits are averaged.

    cohort : for the feature "standing"; None if no network uses it.
    projection : of a wider network's output to the encodings that the head scores; kept in the
        same file, for making such encodings.
    """

    cohort: Cohort | None
    networks: Sequence[DenseNetwork]
    metadata: HeadMetadata
    projection: Projection | None = None

    def recalibrated(self, calibration: Calibration) -> Head:
        """Return the same head with another calibration."""
        return replace(self, metadata=replace(self.metadata, calibration=calibration))

    def with_projection(self, projection: Projection | None) -> Head:
        """Return the same head with another projection."""
        return replace(self, projection=projection)

    def sides(self, encodings: Encodings) -> Float32:
        """Return one side of a pair for each encoding, float32 (n, SIDE_WIDTH).

        Raises InvalidEncoding for values that are not finite.
        """
        finite = np.isfinite(encodings.vectors).all(axis=1)
        finite &= np.isfinite(encodings.norms) & np.isfinite(encodings.agreement)
        if not finite.all():
            rows = np.flatnonzero(~finite)
            raise InvalidEncoding(
                f"encoding {rows[0]} is not finite ({len(rows)} of {len(encodings)}); encode its"
                " photo again"
            )
        return sides_of(self.cohort, encodings)

    def logits(self, a: Float32, b: Float32) -> Float32:
        """Return the logits (different, same) of the pairs (a[i], b[i]), float32 (n, 2)."""
        logits = np.empty((len(a), 2), dtype=np.float32)
        for start in range(0, len(a), _BATCH):
            batch = slice(start, start + _BATCH)
            features = pair_features(self.metadata.features, a[batch], b[batch])
            members = [network.logits(features) for network in self.networks]
            np.mean(members, axis=0, out=logits[batch])
        return logits

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
            digest.update(name.encode() + value.tobytes())
        return digest.hexdigest()

    def _state(self) -> dict[str, Float32]:
        state = {} if self.cohort is None else {"cohort.centres": self.cohort.centres}
        for number, network in enumerate(self.networks):
            state |= {f"network.{number}.{name}": array for name, array in network.arrays.items()}
        return {name: np.ascontiguousarray(array) for name, array in state.items()}

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
            state["projection.matrix"] = np.ascontiguousarray(self.projection.matrix)
        with atomic_write(file) as out:
            out.write(save(state, metadata))


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
    except (KeyError, IndexError, ValueError, TypeError) as error:
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
        with safe_open(file, framework="np") as opened:
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


def _read(file: Path, remedy: str) -> tuple[dict[str, Float32], dict[str, str]]:
    try:
        with safe_open(file, framework="np") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
            form, names = metadata.get("form"), opened.keys()
            if form not in (_FORM, _OLD_FORM):
                raise HeadUnusable(f"{file} has form {form!r}, expected {_FORM!r}; {remedy}")
            for name in names:
                dtype = opened.get_slice(name).get_dtype()
                if dtype != "F32":
                    raise HeadUnusable(f"{file} is damaged: {name} is {dtype}, not F32; {remedy}")
            return {name: opened.get_tensor(name) for name in names}, metadata
    except FileNotFoundError as error:
        raise HeadUnusable(f"{file} does not exist; {remedy}") from error
    except (OSError, SafetensorError) as error:
        raise HeadUnusable(f"{file} is not a head file: {error}; {remedy}") from error


def _projection(state: Mapping[str, Float32], metadata: Mapping[str, str]) -> Projection:
    return Projection(state["projection.matrix"], metadata["network_sha256"])


def _head(state: dict[str, Float32], metadata: Mapping[str, Any]) -> Head:
    head_metadata = HeadMetadata(
        encoder=metadata["encoder"],
        encoder_sha256=metadata["encoder_sha256"],
        features=tuple(json.loads(metadata["features"])),
        hidden=int(metadata["hidden"]),
        calibration=Calibration.from_json(json.loads(metadata["calibration"])),
    )
    if not all(np.isfinite(array).all() for array in state.values()):
        raise ValueError("its weights are not all finite")
    centres = state.pop("cohort.centres", None)
    cohort = None if centres is None else Cohort(centres)
    if cohort is None and "standing" in head_metadata.features:
        raise ValueError("it has no cohort")
    projection = _projection(state, metadata) if "network_sha256" in metadata else None
    if projection is not None:
        del state["projection.matrix"]
    width = features_width(head_metadata.features)
    networks: list[DenseNetwork] = []
    while arrays := _taken(state, f"network.{len(networks)}."):
        networks.append(DenseNetwork(arrays, width, head_metadata.hidden))
    if state:
        raise ValueError(f"it has tensors that no head has: {', '.join(sorted(state))}")
    if not networks:
        raise ValueError("it has no network")
    return Head(cohort, networks, head_metadata, projection)


def _taken(state: dict[str, Float32], prefix: str) -> dict[str, Float32]:
    """Move the arrays with this prefix, without it, out of `state`."""
    names = [name for name in state if name.startswith(prefix)]
    return {name.removeprefix(prefix): state.pop(name) for name in names}
