"""Encoders by name or file: the only place that knows all kinds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gallery.encoders.protocol import Network
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import SettingInvalid

if TYPE_CHECKING:
    import torch  # reading a name must not load it

DEFAULT = DLIB_RESNET.name
_FACENETS = ("facenet-vggface2", "facenet-casia")
KINDS = (DEFAULT, *_FACENETS, "onnx")


@dataclass(frozen=True)
class Spec:
    """What `--encoder` says: a kind, and a file where it takes one."""

    kind: str
    file: Path | None

    def __str__(self) -> str:
        return self.kind if self.file is None else f"{self.kind}:{self.file}"


def read_spec(text: str, weights: Path | None = None) -> Spec:
    """NAME or NAME:FILE; weights : the file apart. Raises SettingInvalid."""
    kind, colon, rest = text.strip().partition(":")
    kind = kind.lower()
    file = Path(rest) if colon and rest else weights
    if colon and rest and weights is not None:
        raise SettingInvalid(f"{text!r} names a file already; leave --weights out")
    if kind not in KINDS:
        hint = f"; did you mean onnx:{text}?" if text.lower().endswith(".onnx") else ""
        raise SettingInvalid(
            f"encoder {text!r} is not known: {DEFAULT}, {', '.join(_FACENETS)} (with --weights"
            f" FILE), or onnx:FILE{hint}"
        )
    if kind == DEFAULT and file is not None:
        raise SettingInvalid(f"{DEFAULT} comes with its weights; leave --weights out")
    if kind == "onnx" and file is None:
        raise SettingInvalid("encoder 'onnx' needs its file: onnx:FILE")
    return Spec(kind, None if file is None else file.expanduser().absolute())


def open_network(spec: Spec, cache: Path, device: torch.device, threads: int) -> Network:
    """Raises WeightsMissing, WeightsMismatch or WeightsUnreadable, with the remedy."""
    if spec.kind == "onnx":
        from gallery.encoders.onnx import OnnxNetwork

        assert spec.file is not None
        return OnnxNetwork(spec.file, threads=threads, gpu=device.type == "cuda")
    if spec.kind in _FACENETS:
        from gallery.encoders.facenet import facenet_network

        return facenet_network(spec.kind, spec.file, device)
    from gallery.encoders.dlib import dlib_network

    return dlib_network(cache, device)
