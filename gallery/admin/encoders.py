"""List encoders, with their licences and measured speed, and fetch published weights."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.config import Settings
from gallery.encoders.protocol import Network, Traits
from gallery.encoders.registry import KINDS, Spec, read_spec
from gallery.encoders.weights import MOBILEFACENET
from gallery.errors import GalleryError, HeadUnusable, SettingInvalid

_TIMING_ROUNDS = 5
_VIEWS = 2


@dataclass(frozen=True)
class UsableEncoder:
    """An encoder that opens.

    seconds : to encode the face of a query on this machine (median).
    head : the head file for it; None if there is none yet.
    """

    traits: Traits
    seconds: float
    head: Path | None


@dataclass(frozen=True)
class UnusableEncoder:
    """An encoder that does not open. reason : why, and what to do about it."""

    spec: Spec
    reason: str


def list_encoders(
    settings: Settings, others: Iterable[Spec | None] = ()
) -> Iterator[tuple[Spec, UsableEncoder | UnusableEncoder]]:
    """Describe each encoder that is known by name, and then the others that are not None."""
    specs = [read_spec(kind) for kind in KINDS if kind != "onnx"]
    specs += [spec for spec in others if spec is not None]
    for spec in dict.fromkeys(specs):
        yield spec, describe_encoder(settings, spec)


def describe_encoder(settings: Settings, spec: Spec) -> UsableEncoder | UnusableEncoder:
    """Open an encoder, time it, and look for its head."""
    from gallery.encoders.registry import open_network
    from gallery.matching.head_files import find_head
    from gallery.networks.machine import machine_for

    try:
        network = open_network(spec, machine_for(settings))
        seconds = _seconds_per_query(network)
    except GalleryError as error:
        return UnusableEncoder(spec, str(error))
    try:
        head = find_head(settings, network.traits)
    except HeadUnusable:
        head = None
    return UsableEncoder(network.traits, seconds, head)


def _seconds_per_query(network: Network) -> float:
    """The median time for all views of one face. Raises WeightsUnreadable if the model fails."""
    template = network.traits.template
    crops = np.random.default_rng(0).integers(
        0, 256, (_VIEWS, template.height, template.width, 3), dtype=np.uint8
    )
    network.raw(crops)  # the first run is slower
    times = []
    for _ in range(_TIMING_ROUNDS):
        start = time.perf_counter()
        network.raw(crops)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


@dataclass(frozen=True)
class DownloadableWeights:
    """Weights that can be fetched. source : where from, for people to read."""

    name: str
    licence: str
    source: str


def downloadable_weights(name: str) -> DownloadableWeights:
    """Look up weights by the name that `gallery encoders --fetch` takes. Raises SettingInvalid."""
    from gallery.encoders.download import UNIFACE_MODELS
    from gallery.encoders.facenet import PUBLISHED

    if name == MOBILEFACENET.name:
        package = f"{MOBILEFACENET.package}@{MOBILEFACENET.version}"
        return DownloadableWeights(
            name, MOBILEFACENET.licence, f"{MOBILEFACENET.path} of {package}, fetched by npm"
        )
    if name in PUBLISHED:
        published = PUBLISHED[name]
        return DownloadableWeights(
            name, published.licence, f"{published.url} to {published.cached_file}"
        )
    if name in UNIFACE_MODELS:
        return DownloadableWeights(
            name, UNIFACE_MODELS[name].licence, f"{name}, downloaded by the package uniface"
        )
    known = ", ".join((MOBILEFACENET.name, *PUBLISHED, *UNIFACE_MODELS))
    raise SettingInvalid(f"{name!r} cannot be fetched; choose one of {known}")


def fetch_weights(name: str, settings: Settings, file: Path | None = None) -> tuple[Path, str]:
    """Fetch published weights; return the file, and the encoder as --encoder takes it.

    All networks that a query runs are then prepared, so that the first query need not do it.
    file : take mobilefacenet's weights from this file instead of fetching them.
    Raises WeightsMissing, WeightsMismatch, WeightsUnreadable or SettingInvalid.
    """
    from gallery.factory import build_pipeline

    fetched, spec = _fetched(name, settings.cache, file)
    build_pipeline(settings, read_spec(spec), native=True).load_second_detector()
    return fetched, spec


def _fetched(name: str, cache: Path, file: Path | None) -> tuple[Path, str]:
    from gallery.encoders import download, facenet, mobilefacenet_weights

    if name == MOBILEFACENET.name:
        if file is not None:
            mobilefacenet_weights.keep(file, cache)
        return mobilefacenet_weights.fetch(cache), name
    if file is not None:
        raise SettingInvalid(f"--weights is for {MOBILEFACENET.name}; omit it for {name}")
    if name in facenet.PUBLISHED:
        return facenet.fetch(name), name
    file = download.fetch(name, cache)
    return file, f"onnx:{file}"
