"""The default encoder's weights, converted once to safetensors in the cache folder."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from gallery.encoders.dlib_dat import read_network
from gallery.encoders.dlib_resnet import state_of
from gallery.encoders.weights import DLIB_RESNET
from indexer.whole_file import atomic_write

_VERSION = "1"  # raise it when the conversion changes


def dlib_resnet_state(cache: Path) -> dict[str, Tensor]:
    """The state dictionary of DlibResNet, from the cache or converted from the installed file.

    A cache that cannot be written is ignored: converting takes a quarter of a second.
    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """
    file = cache / f"dlib-resnet-{DLIB_RESNET.sha256[:16]}.safetensors"
    state = _cached(file)
    if state is None:
        state = state_of(read_network(DLIB_RESNET.read()))
        _save(state, file)
    return state


def _cached(file: Path) -> dict[str, Tensor] | None:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
        state = load_file(file)
        return state if metadata == _metadata(state) else None
    except (OSError, SafetensorError):
        return None  # missing, truncated by a full disk, or another file: convert again


def _metadata(state: dict[str, Tensor]) -> dict[str, str]:
    """The metadata that a valid file has: version, hash of the source, hash of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].numpy().tobytes())
    return {"form": _VERSION, "source": DLIB_RESNET.sha256, "state": digest.hexdigest()}


def _save(state: dict[str, Tensor], file: Path) -> None:
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as out:
            out.write(save(state, _metadata(state)))
