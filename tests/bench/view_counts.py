"""How many views of a probe and of an enrolled face pay off, for any encoder.

    python -m tests.bench.view_counts --lfw DIR --protocol blufr_lfw_config.mat \\
        --encoder mobilefacenet --errata errata.csv --save view_counts.json

Each photo's central face is encoded in ten views, by the network alone, without a projection.
BLUFR: DIR at an FPIR of 10, 1 and 0.1 % by the cosine of the views' means; mean and standard
deviation over its ten trials, and the difference to the counts in use over the same trials.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gallery.config import load_settings
from gallery.encoders.encoder import fuse
from gallery.encoders.registry import read_spec
from gallery.errors import PhotoError
from gallery.evaluation.baselines import Cosine
from gallery.evaluation.benchmarks import FPIRS, open_set
from gallery.evaluation.protocols import Blufr, corrected_blufr, read_blufr, rows_of_photos
from gallery.factory import build_pipeline, build_workers
from gallery.training.dataset import people_in
from gallery.training.encode import EncodedPeople
from gallery.training.errata import read_errata
from gallery.types import Float32, Several
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import LostPhoto, map_photos
from tests.bench.views import against_first

COUNTS = ((2, 2), (1, 1), (1, 2), (1, 10), (2, 10), (10, 10))
"""Views of a probe, and of an enrolled face; the first are those in use."""


def _views(pipeline: FacePipeline, path: Path) -> Float32 | None:
    """Every view as the network encodes it, float32 (v, d); None without a face."""
    try:
        photo = pipeline.open(path)
        face = pipeline.one_face(photo, Several.CENTRAL)
    except PhotoError:
        return None
    return pipeline.encoder.raw(align(photo, face.landmarks, VIEWS, pipeline.encoder.template))


def collect(paths: list[Path], encoder: str, keep: Path | None) -> dict[str, Any]:
    """Encode all photos.  photos : those with a face, (n,).  views : float32 (n, v, d)."""
    if keep is not None and keep.exists():
        with np.load(keep) as arrays:
            return dict(arrays)
    settings = load_settings(threads=1)
    spec = read_spec(encoder)
    by_path: dict[Path, Float32] = {}
    results = map_photos(
        _views, paths, build_pipeline(settings, spec), build_workers(settings, spec)
    )
    for done, (path, views) in enumerate(results, start=1):
        if views is not None and not isinstance(views, LostPhoto):
            by_path[path] = views
        if done % 100 == 0:
            print(f"\r{done} of {len(paths)}", end="", flush=True)  # noqa: T201
    found = [path for path in paths if path in by_path]
    arrays = {
        "photos": np.array([str(path) for path in found]),
        "views": np.stack([by_path[path] for path in found]),
    }
    if keep is not None:
        np.savez(keep, **arrays)
    return arrays


def on_blufr(arrays: dict[str, Any], lfw: Path, protocol: Blufr, trials: int) -> dict[str, Any]:
    photos = tuple(arrays["photos"].tolist())
    nobody = np.zeros(len(photos), np.int64)  # the protocol says who they are
    fused = {count: fuse(arrays["views"][:, :count]) for count in {n for c in COUNTS for n in c}}
    draws_by_name: dict[str, list[dict[str, Any]]] = {}
    for probe, enrolled in COUNTS:
        people = EncodedPeople(
            fused[probe], fused[enrolled], nobody, ("",), photos, ("",) * len(photos), ()
        )
        rows = rows_of_photos(people, lfw, protocol.photos)
        draws_by_name[f"{probe} of a probe, {enrolled} enrolled"] = [
            open_set(Cosine(), people, rows, protocol, trial)["dir_at_fpir"]
            for trial in protocol.trials[:trials]
        ]
    return against_first(draws_by_name, [f"{rate:g}" for rate in FPIRS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--errata", type=Path, nargs="*", default=[])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--keep", type=Path, help="File that keeps the encodings between runs.")
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    folder = people_in(arguments.lfw)
    paths = [path for photos in folder.people.values() for path in photos]
    arrays = collect(paths, arguments.encoder, arguments.keep)
    protocol = read_blufr(arguments.protocol)
    report = {
        "encoder": arguments.encoder,
        "blufr_dir_at_fpir": on_blufr(arrays, arguments.lfw, protocol, arguments.trials),
    }
    errata = read_errata(arguments.errata, arguments.lfw)
    if errata is not None:
        corrected = corrected_blufr(protocol, errata)
        report["with_errata"] = on_blufr(arrays, arguments.lfw, corrected, arguments.trials)
    report |= {
        "trials": arguments.trials,
        "photos": len(paths),
        "with_a_face": len(arrays["photos"]),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    print(f"\n{json.dumps(report, indent=2)}")  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    # Other processes can be sent a module's functions, but not those of __main__.
    from tests.bench import view_counts as module

    module.main()
