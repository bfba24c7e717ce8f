"""Networks' weights in the cache folder, as safetensors, each with the hash of its source."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from gallery.encoders.dlib_dat import read_network
from gallery.encoders.dlib_resnet import state_of
from gallery.encoders.weights import DLIB_RESNET, cached_file
from indexer.whole_file import atomic_write

_VERSION = "1"  # raise it when a conversion changes


def dlib_resnet_state(cache: Path) -> dict[str, Tensor]:
    """The state dictionary of DlibResNet, from the cache or converted from the installed file.

    A cache that cannot be written is ignored: converting takes a quarter of a second.
    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """
    file = cached_file(cache, DLIB_RESNET)
    state = read_state(file, DLIB_RESNET.sha256)
    if state is None:
        state = state_of(read_network(DLIB_RESNET.read()))
        with suppress(OSError):
            save_state(file, DLIB_RESNET.sha256, state)
    return state


def read_state(file: Path, source_sha256: str) -> dict[str, Tensor] | None:
    """Read converted weights; None if the file is missing, damaged, or of another source."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
        state = load_file(file)
        return state if metadata == _metadata(state, source_sha256) else None
    except (OSError, SafetensorError):
        return None


def save_state(file: Path, source_sha256: str, state: dict[str, Tensor]) -> None:
    """Write converted weights, atomically. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as out:
        out.write(save(state, _metadata(state, source_sha256)))


def _metadata(state: dict[str, Tensor], source_sha256: str) -> dict[str, str]:
    """The metadata that a valid file has: version, hash of the source, hash of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].numpy().tobytes())
    return {"form": _VERSION, "source": source_sha256, "state": digest.hexdigest()}
