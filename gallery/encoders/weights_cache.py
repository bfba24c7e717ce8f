"""The encoder's weights, converted once to safetensors in the user's cache folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from gallery.encoders.dlib_dat import read_network
from gallery.encoders.dlib_resnet import state_of
from gallery.encoders.weights import DLIB_RESNET
from indexer.whole_file import written_whole

_FORM = "1"  # raise it when the converted form changes


def dlib_resnet_state(cache: Path) -> dict[str, Tensor]:
    """The state dictionary of DlibResNet, from the cache or converted from the installed file.

    A cache that cannot be written is no error: converting takes a quarter of a second.
    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """
    file = cache / f"dlib-resnet-{DLIB_RESNET.sha256[:16]}.safetensors"
    state = _cached(file)
    if state is None:
        state = state_of(read_network(DLIB_RESNET.read()))
        _keep(state, file)
    return state


def _cached(file: Path) -> dict[str, Tensor] | None:
    try:
        with safe_open(file, framework="pt") as opened:
            marks = opened.metadata() or {}
        state = load_file(file)
        return state if marks == _marks(state) else None
    except (OSError, SafetensorError):
        return None  # missing, cut short by a full disk, not ours: convert again


def _marks(state: dict[str, Tensor]) -> dict[str, str]:
    """What the file must say of itself: its form, its source, and what its tensors hash to."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].numpy().tobytes())
    return {"form": _FORM, "source": DLIB_RESNET.sha256, "state": digest.hexdigest()}


def _keep(state: dict[str, Tensor], file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as out:
            out.write(save(state, _marks(state)))
    except OSError:
        return
