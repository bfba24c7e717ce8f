"""The FPIR of the shipped head on altered photos, and on other folders of people.

    python -m tests.bench.travel PEOPLE_FOLDER [OTHER_FOLDER...] --encoder mobilefacenet \\
        --save travel.json

The first folder's photos are altered, enrolled ones and queries alike; with a split.csv only its
test people are used. The other folders are used as they are. Nothing is fitted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from gallery import Gallery
from gallery.evaluation.fpir import measure_promise
from gallery.factory import build_pipeline
from gallery.training.cleaning import without_duplicates
from gallery.training.dataset import PeopleFolder, people_in
from gallery.training.encode import Views, encode_people


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _noise(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 18, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _small(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side)).resize(image.size)


CONDITIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2.0)),
    "compressed": lambda image: _jpeg(image, 12),
    "small": lambda image: _small(image, image.width // 3),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.35),
    "noisy": _noise,
    "tilted": lambda image: image.rotate(20, Image.Resampling.BICUBIC),
}


def altered(folder: PeopleFolder, name: str, out: Path, limit: int) -> PeopleFolder:
    """Alter the photos of at most `limit` people, and write them below `out` unless they exist."""
    people: dict[str, list[Path]] = {}
    for person in sorted(folder.people)[:limit]:
        people[person] = []
        for photo in folder.people[person][:6]:
            file = out / name / person / f"{photo.stem}.png"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(photo) as image:
                    CONDITIONS[name](image.convert("RGB")).save(file, compress_level=1)
            people[person].append(file)
    return PeopleFolder(out / name, people, folder.part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--work", type=Path, default=Path("build/travel"))
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    report = {}
    home = arguments.work / f"home-{arguments.encoder}"
    with Gallery.open(home, encoder=arguments.encoder) as gallery:
        first, *others = arguments.folders
        folders = {
            name: altered(people_in(first, "test"), name, arguments.work, arguments.people)
            for name in CONDITIONS
        } | {folder.name: people_in(folder) for folder in others}
        settings = gallery.settings
        for name, folder in folders.items():
            views = Views(settings.views_query, settings.views_enrolled)
            people, _ = without_duplicates(
                encode_people(
                    folder,
                    gallery.pipeline,
                    views,
                    settings.cache,
                    workers=os.cpu_count() or 1,
                    pipeline_factory=partial(build_pipeline, settings, gallery.spec),
                )
            )
            half = len(np.unique(people.people)) // 2
            rows = measure_promise(gallery.scorer.head, people, seed=0, sizes=(half,))["galleries"]
            report[name] = [
                {
                    key: row[key]
                    for key in (
                        "gallery",
                        "promised",
                        "strangers_named",
                        "strangers_named_interval",
                        "known_found",
                        "cosine_with_hindsight_found",
                        "distance_0.6_strangers_named",
                    )
                }
                for row in rows
            ]
            ratios = ", ".join(
                f"{r['promised']:.1%}: {r['strangers_named'] / r['promised']:.2f}" for r in rows
            )
            print(f"{name}: gallery {half}; measured / promised FPIR at {ratios}", flush=True)  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
