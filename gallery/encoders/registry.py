"""Every kind of encoder, by name or file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gallery.encoders.protocol import Network
from gallery.encoders.weights import DLIB_RESNET, MOBILEFACENET, cached_file
from gallery.errors import SettingInvalid
from gallery.networks.machine import Machine

_FACENETS = ("facenet-vggface2", "facenet-casia")
KINDS = (MOBILEFACENET.name, DLIB_RESNET.name, *_FACENETS, "onnx")


@dataclass(frozen=True)
class Spec:
    """The value of `--encoder`: a kind, and the file of its weights if it takes one."""

    kind: str
    file: Path | None

    def __str__(self) -> str:
        return self.kind if self.file is None else f"{self.kind}:{self.file}"


def read_spec(text: str, weights: Path | None = None) -> Spec:
    """Parse NAME or NAME:FILE. weights : the value of --weights. Raises SettingInvalid."""
    kind, _, path = text.strip().partition(":")
    kind = kind.lower()
    if path and weights is not None:
        raise SettingInvalid(f"encoder {text!r} already names a file; omit --weights")
    file = Path(path) if path else weights
    if kind not in KINDS:
        hint = f"; did you mean onnx:{text}?" if text.lower().endswith(".onnx") else ""
        raise SettingInvalid(
            f"encoder {text!r} is not known; expected {', '.join(KINDS[:-1])}, or onnx:FILE{hint}"
        )
    if kind == DLIB_RESNET.name and file is not None:
        raise SettingInvalid(f"encoder {kind} comes with its weights; omit --weights")
    if kind == "onnx" and file is None:
        raise SettingInvalid("encoder 'onnx' needs a file: onnx:FILE")
    return Spec(kind, None if file is None else file.expanduser().absolute())


def default_kind(cache: Path) -> str:
    """The encoder of a new gallery: mobilefacenet if its weights are in the cache."""
    has_weights = os.path.isfile(cached_file(cache, MOBILEFACENET))  # False if not permitted
    return (MOBILEFACENET if has_weights else DLIB_RESNET).name


def open_network(spec: Spec, machine: Machine) -> Network:
    """Load a network.

    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable, with the remedy.
    """
    if spec.kind == "onnx":
        from gallery.encoders.onnx import OnnxNetwork

        assert spec.file is not None
        return OnnxNetwork(spec.file, threads=machine.threads, gpu=machine.device == "cuda")
    if spec.kind in _FACENETS:
        from gallery.encoders.facenet import facenet_network

        return facenet_network(spec.kind, spec.file, machine)
    from gallery.encoders.model_network import dlib_network, mobilefacenet_network

    if spec.kind == MOBILEFACENET.name:
        return mobilefacenet_network(machine, spec.file)
    return dlib_network(machine)
