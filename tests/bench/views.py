"""Variants of the default encoder: views, alignment, light, fusion, and its last layer.

    python -m tests.bench.views --lfw DIR --protocol blufr_lfw_config.mat \\
        --save views.json

Each photo's central face is detected once and encoded in every variant, before and after the
network's last layer (256 and 128 numbers). BLUFR: DIR at an FPIR of 10, 1 and 0.1 % by cosine, mean
and standard deviation over its ten trials, and each variant's difference to the one in use over the
same trials. Fusion: of test people with four or more photos, three are enrolled and fused with
several weightings, and the others are queried; all other test people are strangers; twenty draws.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from gallery.config import load_settings
from gallery.encoders.dlib_resnet import DlibResNet
from gallery.encoders.encoder import fuse
from gallery.encoders.registry import read_spec
from gallery.encoders.weights import DLIB_RESNET
from gallery.encoders.weights_cache import dlib_resnet_state
from gallery.errors import PhotoError
from gallery.evaluation.baselines import Cosine
from gallery.evaluation.benchmarks import FPIRS, open_set
from gallery.evaluation.protocols import read_blufr, rows_of_photos
from gallery.factory import build_pipeline
from gallery.training.dataset import people_in
from gallery.training.encode import EncodedPeople
from gallery.training.projection import KINDS
from gallery.types import Encodings, Float32, Int64, Several, UInt8
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline

_WIDTH = 256
_DRAWS, _ENROLLED = 20, 3
_BOTH = VIEWS[:2]
_BRIGHTNESS = 110.0
"""Mean brightness of a crop after gamma correction: about that of LFW's faces."""


def _stretched(chip: UInt8) -> UInt8:
    return np.asarray(ImageOps.autocontrast(Image.fromarray(chip), cutoff=1, preserve_tone=True))


def _lit(chip: UInt8) -> UInt8:
    share = chip.astype(np.float32) / 255.0
    mean = float(np.clip(share.mean(), 0.02, 0.98))
    gamma = float(np.clip(np.log(_BRIGHTNESS / 255.0) / np.log(mean), 0.5, 2.0))
    lit: UInt8 = (share**gamma * 255.0).round().astype(np.uint8)
    return lit


VARIANTS = {
    "views": 10,  # as in use: the crop, its mirror image, zooms and shifts
    "contrast stretched": 2,
    "gamma to one mean": 2,
    "five equal landmarks": 2,
    "eyes alone": 2,
}
"""The variants, and how many crops of each face each one has."""
_worker: list[tuple[FacePipeline, DlibResNet]] = []


def _start() -> None:
    torch.set_num_threads(1)
    settings = load_settings(threads=1)
    network = DlibResNet()
    network.load_state_dict(dlib_resnet_state(settings.cache))
    network.head = torch.nn.Identity()
    _worker.append((build_pipeline(settings, read_spec(DLIB_RESNET.name)), network.eval()))


def _work(path: Path) -> tuple[np.ndarray, tuple[float, float, float], str]:
    """All crops before the last layer, float16 (c, 256); sharpness, probability, side; error."""
    pipeline, network = _worker[0]
    try:
        photo = pipeline.open(path)
        face = pipeline.one_face(photo, Several.CENTRAL)
    except PhotoError as error:
        return np.zeros((sum(VARIANTS.values()), _WIDTH), np.float16), (0.0, 0.0, 0.0), str(error)
    template = pipeline.encoder.template
    chips = align(photo, face.landmarks, VIEWS, template)
    equal = replace(template, weights=(1.0,) * 5)
    eyes = replace(template, weights=(1.0, 1.0, 0.0, 0.0, 0.0))
    everything = np.concatenate(
        [
            chips,
            np.stack([_stretched(chip) for chip in chips[:2]]),
            np.stack([_lit(chip) for chip in chips[:2]]),
            align(photo, face.landmarks, _BOTH, equal),
            align(photo, face.landmarks, _BOTH, eyes),
        ]
    )
    with torch.inference_mode():
        pooled = network(torch.from_numpy(everything).permute(0, 3, 1, 2)).numpy()
    return pooled.astype(np.float16), (face.sharpness, face.probability, face.box.side), ""


def collect(paths: list[Path], keep: Path | None) -> dict[str, np.ndarray]:
    """Encode all photos.

    pooled : (n, crops, 256).  quality : (n, 3).  seen : bool (n,), whether a face was detected.
    """
    if keep is not None and keep.exists():
        with np.load(keep) as arrays:
            return dict(arrays)
    results = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), _start) as pool:
        for done, result in enumerate(pool.map(_work, paths, chunksize=8), start=1):
            results.append(result)
            if done % 100 == 0:
                print(f"\r{done} of {len(paths)}", end="", flush=True)  # noqa: T201
    arrays = {
        "pooled": np.stack([pooled for pooled, _, _ in results]),
        "quality": np.array([quality for _, quality, _ in results], np.float32),
        "seen": np.array([not reason for _, _, reason in results]),
    }
    if keep is not None:
        np.savez(keep, **arrays)
    return arrays


class Faces:
    """The encodings of the collected faces.  last : the network's last layer."""

    def __init__(self, arrays: dict[str, np.ndarray], paths: list[Path], last: Float32) -> None:
        self.seen = np.flatnonzero(arrays["seen"])
        self._pooled, self._last = arrays["pooled"][self.seen], last
        self.quality = arrays["quality"][self.seen]
        self.photos = tuple(str(paths[i]) for i in self.seen)
        self._at = dict(zip(VARIANTS, np.cumsum([0, *VARIANTS.values()]).tolist(), strict=False))

    def of(
        self, variant: str, count: int, *, native: bool = False, only: int | None = None
    ) -> Encodings:
        """The mean of the first `count` crops of a variant; only : use this crop alone."""
        start = self._at[variant]
        crops = (
            slice(start, start + count) if only is None else slice(start + only, start + only + 1)
        )
        raw = self._pooled[:, crops].astype(np.float32)
        return fuse(raw if native else raw @ self._last)

    def people(self, probes: Encodings, enrolled: Encodings) -> EncodedPeople:
        """As input for the benchmarks; the protocol says who they are."""
        nobody = np.zeros(len(self.seen), np.int64)
        return EncodedPeople(probes, enrolled, nobody, ("",), self.photos, ("",) * len(nobody), ())


def variants(faces: Faces) -> dict[str, tuple[Encodings, Encodings]]:
    """Encodings of probes and of enrolled faces, by name. The first is the one in use."""
    two = faces.of("views", 2)
    named = {
        "in use: 2 views of a probe, 10 enrolled": (two, faces.of("views", 10)),
        "the chip alone": (faces.of("views", 1),) * 2,
        "2 views of both": (two, two),
        "6 views of both": (faces.of("views", 6),) * 2,
        "10 views of both": (faces.of("views", 10),) * 2,
    }
    for variant in list(VARIANTS)[1:]:
        other = faces.of(variant, 2)
        named[f"{variant}, 2 views of both"] = (other, other)
    return named


def on_blufr(faces: Faces, arguments: Any) -> dict[str, Any]:
    protocol = read_blufr(arguments.protocol)
    named = {name: faces.people(*pair) for name, pair in variants(faces).items()}
    rows = rows_of_photos(next(iter(named.values())), arguments.lfw, protocol.photos)
    native = faces.people(faces.of("views", 2, native=True), faces.of("views", 10, native=True))
    draws_by_name: dict[str, list[dict[str, Any]]] = {}
    for trial in protocol.trials[: arguments.trials]:
        training = rows[trial.training]
        training = training[training >= 0]
        owners = protocol.people[trial.training][rows[trial.training] >= 0]
        fitted = replace(native.take(training), people=owners)
        projected = {
            f"native 256 projected to 128 ({kind})": replace(
                native,
                probes=projection.apply(native.probes),
                enrolled=projection.apply(native.enrolled),
            )
            for kind, projection in ((kind, learn(fitted, "")) for kind, learn in KINDS.items())
        }
        for name, people in {**named, "native 256": native, **projected}.items():
            figures = open_set(Cosine(), people, rows, protocol, trial)
            draws_by_name.setdefault(name, []).append(figures["dir_at_fpir"])
        print(f"\rtrial {len(draws_by_name['native 256'])}", end="", flush=True)  # noqa: T201
    return against_first(draws_by_name, [f"{rate:g}" for rate in FPIRS])


def against_first(trials: dict[str, list[dict[str, float]]], keys: list[str]) -> dict[str, Any]:
    first = next(iter(trials.values()))
    summary: dict[str, Any] = {}
    for name, draws in trials.items():
        summary[name] = {}
        for key in keys:
            values = np.array([draw[key] for draw in draws])
            differences = values - np.array([draw[key] for draw in first])
            summary[name][key] = {
                "mean": round(float(values.mean()), 4),
                "std": round(float(values.std()), 4),
                "difference": round(float(differences.mean()), 4),
                "difference_std_error": round(
                    float(differences.std() / len(differences) ** 0.5), 4
                ),
            }
    return summary


WEIGHTS: dict[str, Callable[[Encodings, np.ndarray], np.ndarray]] = {
    "in use: all photos alike": lambda e, _: np.ones(len(e)),
    "by norm": lambda e, _: e.norms,
    "by norm squared": lambda e, _: e.norms**2,
    "by agreement of views": lambda e, _: 1.0 / (1.005 - e.agreement),
    "by sharpness": lambda _, q: np.sqrt(q[:, 0]),
    "by the detector's probability": lambda _, q: np.maximum(q[:, 1] - 0.98, 1e-3),
}
"""Each enrolled face's weight in the mean of its identity's encodings."""


def on_fusion(faces: Faces, lfw: Path) -> dict[str, Any]:
    folder = people_in(lfw, "test")
    row_of = {photo: i for i, photo in enumerate(faces.photos)}
    people = [
        np.array([row_of[str(p)] for p in photos if str(p) in row_of])
        for photos in folder.people.values()
    ]
    probes, enrolled = faces.of("views", 2), faces.of("views", 10)
    draws_by_name: dict[str, list[dict[str, float]]] = {}
    for seed in range(_DRAWS):
        rng = np.random.default_rng(seed)
        known = [rng.permutation(rows) for rows in people if len(rows) > _ENROLLED]
        strangers = np.array([rng.choice(r) for r in people if 0 < len(r) <= _ENROLLED])
        queries = np.concatenate([rows[_ENROLLED:][:5] for rows in known])
        owners = np.concatenate([[i] * len(r[_ENROLLED:][:5]) for i, r in enumerate(known)])
        for name, weigh in WEIGHTS.items():
            templates = np.stack(
                [_fused(rows[:_ENROLLED], enrolled, faces.quality, weigh) for rows in known]
            )
            scores = probes.vectors[queries] @ templates.T
            highest = -np.sort(-(probes.vectors[strangers] @ templates.T).max(axis=1))
            right = scores.argmax(axis=1) == owners
            draws_by_name.setdefault(name, []).append(
                {
                    f"{rate:g}": float(
                        (right & (scores.max(axis=1) > highest[int(rate * len(highest))])).mean()
                    )
                    for rate in FPIRS[:2]
                }
            )
    return against_first(draws_by_name, [f"{rate:g}" for rate in FPIRS[:2]])


def _fused(rows: Int64, enrolled: Encodings, quality: np.ndarray, weigh: Any) -> Float32:
    weights = weigh(enrolled.take(rows), quality[rows])
    mean = weights @ enrolled.vectors[rows]
    template: Float32 = mean / np.linalg.norm(mean)
    return template


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--keep", type=Path, help="File that keeps the encodings between runs.")
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    folder = people_in(arguments.lfw)
    paths = [path for photos in folder.people.values() for path in photos]
    last = np.ascontiguousarray(dlib_resnet_state(load_settings().cache)["head.weight"].numpy().T)
    faces = Faces(collect(paths, arguments.keep), paths, last)
    report = {
        "blufr_dir_at_fpir": on_blufr(faces, arguments),
        "fusion_found_at_fpir": on_fusion(faces, arguments.lfw),
        "trials": arguments.trials,
        "draws": _DRAWS,
        "photos": len(paths),
        "with_a_face": len(faces.seen),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    print(f"\n{json.dumps(report, indent=2)}")  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
