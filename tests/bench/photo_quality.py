"""What a photo teaches: how many strangers an enrolled face matches, and how many further photos of
its person it finds, by how the photo is altered, and by what is known of the face.

    python -m tests.bench.photo_quality lfw/ --encoder mobilefacenet --save quality.json \\
        --limits data/mobilefacenet/photo-quality.json

Train people only. Those with three photos or more enrol two, the first of them altered too. At the
margin where one stranger in 10,000 matches a face as it is, a limit is the value below which a face
finds less than half of its person's further photos, by an isotonic
regression; but lower, so that at most 2 % of the faces as they are have a fault by each sign.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from sklearn.isotonic import IsotonicRegression

from gallery.errors import PhotoError
from gallery.factory import build_workers
from gallery.gallery import Gallery
from gallery.matching.head import Head
from gallery.training.dataset import PeopleFolder, people_in
from gallery.training.encode import EncodedPeople, encode_people
from gallery.types import Encodings, Face, Fault, Float64, Several
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import map_photos

SEED, RATE, LEAST_FOUND, MOST_WARNED = 0, 1e-4, 0.5, 0.02
_LEAST_PHOTOS, _ENROLLED, _PROBES, _STRANGERS = 3, 2, 4, 1_200
_BINS = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


def _jpeg_file(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _shrunk(image: Image.Image, _: Face, share: float) -> Image.Image:
    return image.resize((round(image.width * share), round(image.height * share)))


def _blurred(image: Image.Image, _: Face, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _darkened(image: Image.Image, _: Face, light: float) -> Image.Image:
    pixels = np.asarray(ImageEnhance.Brightness(image).enhance(light), dtype=np.float32)
    noise = np.random.default_rng(SEED).normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _mask(image: Image.Image, face: Face) -> Image.Image:
    """Cover the face below the eyes, as a mask does."""
    (_, eye), (_, nose), box = face.landmarks[0], face.landmarks[2], face.box
    image = image.copy()
    top = (eye + nose) / 2
    ImageDraw.Draw(image).rectangle((box.left, top, box.right, box.bottom), fill=(120, 150, 170))
    return image


def _sunglasses(image: Image.Image, face: Face) -> Image.Image:
    (x1, y1), (x2, y2) = face.landmarks[:2]
    pad = 0.45 * float(np.hypot(x2 - x1, y2 - y1))
    image = image.copy()
    box = (min(x1, x2) - pad, min(y1, y2) - pad / 2, max(x1, x2) + pad, max(y1, y2) + pad / 1.5)
    ImageDraw.Draw(image).rectangle(box, fill=(20, 20, 20))
    return image


def _half(image: Image.Image, face: Face) -> Image.Image:
    """Cover the left half of the face, as something in front of it does."""
    image, box = image.copy(), face.box
    middle = float(face.landmarks[2][0])
    ImageDraw.Draw(image).rectangle((box.left, box.top, middle, box.bottom), fill=(110, 100, 90))
    return image


ALTERATIONS: dict[str, Callable[[Image.Image, Face], Image.Image]] = {
    "shrunk to .6": partial(_shrunk, share=0.6),
    "shrunk to .4": partial(_shrunk, share=0.4),
    "blurred by 1.5": partial(_blurred, radius=1.5),
    "blurred by 3": partial(_blurred, radius=3.0),
    "blurred by 5": partial(_blurred, radius=5.0),
    "dark, .2": partial(_darkened, light=0.2),
    "dark, .08": partial(_darkened, light=0.08),
    "mask": _mask,
    "sunglasses": _sunglasses,
    "half covered": _half,
}
AS_IT_IS = "as it is"
JUDGED_BY = {
    Fault.BLURRED: (("sharpness",), "blurred"),
    Fault.FAINT: (("norm", "agreement"), ""),
}
"""The signs that a fault may be judged by, of which the one that tells most is taken, and the
alterations (all, if empty) that its limit is found on."""


@dataclass(frozen=True)
class Enrolled:
    """The face of one photo, once for each way in which the photo was altered and it was found."""

    path: Path
    alterations: tuple[str, ...]
    faces: tuple[Face, ...]
    encodings: Encodings


def enrolled(pipeline: FacePipeline, job: tuple[Path, bool], views: int) -> Enrolled:
    """The central face of a photo, as it is and, if asked for, in each alteration that it is found
    in.
    """
    path, is_altered = job
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    photo = pipeline.open(path)
    original = pipeline.one_face(photo, Several.CENTRAL)
    names, faces, rows = [AS_IT_IS], [original], [pipeline.encode(photo, [original], views)]
    for name, alter in ALTERATIONS.items() if is_altered else ():
        photo = pipeline.open(_jpeg_file(alter(image, original)))
        try:
            face = pipeline.one_face(photo, Several.CENTRAL)
            encoding = pipeline.encode(photo, [face], views)
        except PhotoError:
            continue
        names.append(name)
        faces.append(face)
        rows.append(encoding)
    return Enrolled(path, tuple(names), tuple(faces), Encodings.joined(rows))


def encoded(folder: Path, encoder: str, work: Path) -> tuple[Head, EncodedPeople, list[Enrolled]]:
    """The head, the probes of the train people, and the enrolled faces."""
    train = people_in(folder, "train")
    several = {n: p for n, p in train.people.items() if len(p) >= _LEAST_PHOTOS}
    others = sorted(train.people.keys() - several.keys())
    order = np.random.default_rng(SEED).permutation(len(others))[:_STRANGERS]
    chosen = sorted(several.keys() | {others[i] for i in order})
    probes = PeopleFolder(folder, {n: train.people[n][:_PROBES] for n in chosen}, "train")
    jobs = [(p, i == 0) for photos in several.values() for i, p in enumerate(photos[:_ENROLLED])]
    with Gallery.open(work / f"home-{encoder}", encoder=encoder) as gallery:
        settings = gallery.settings
        workers = build_workers(settings, gallery.spec)
        views = gallery.pipeline.views
        people = encode_people(
            probes,
            gallery.pipeline,
            views,
            settings.cache,
            workers=workers,
        )
        kept = work / f"{encoder}.pickle"  # of this program: long work, which may go on from here
        if not kept.exists():
            work_on = partial(enrolled, views=views.enrolled)
            done = map_photos(work_on, jobs, gallery.pipeline, workers)
            faces = [result for _, result in done if isinstance(result, Enrolled)]
            kept.write_bytes(pickle.dumps(sorted(faces, key=lambda face: face.path)))
        return gallery.scorer.head, people, pickle.loads(kept.read_bytes())


def rates(
    head: Head, people: EncodedPeople, faces: list[Enrolled]
) -> tuple[Float64, Float64, float]:
    """The share of strangers that each face matches, the share of its person's further photos that
    it finds, and the margin for both.
    """
    encodings = Encodings.joined([face.encodings for face in faces])
    paths = [str(face.path) for face in faces for _ in face.alterations]
    is_plain = np.array([name == AS_IT_IS for face in faces for name in face.alterations])
    probes, sides = head.sides(people.probes), head.sides(encodings)
    counts = np.bincount(people.people)
    strangers = np.flatnonzero(counts[people.people] < _LEAST_PHOTOS)

    def margins(row: int, against: np.ndarray) -> Float64:
        return head.margins(sides[np.full(len(against), row)], probes[against])

    with_strangers = np.array([margins(i, strangers) for i in range(len(paths))])
    margin = float(np.quantile(with_strangers[is_plain], 1.0 - RATE))
    photos = np.array(people.photos)
    person = {name: i for i, name in enumerate(people.names)}
    found = np.full(len(paths), np.nan)
    for i, path in enumerate(paths):
        own = people.people == person[Path(path).parent.name]
        further = np.flatnonzero(own & (photos != path))
        if len(further):
            found[i] = float((margins(i, further) > margin).mean())
    return (with_strangers > margin).mean(axis=1), found, margin


def isotonic(values: Float64, found: Float64) -> Float64:
    """The share found at each value, by a rising curve."""
    curve = IsotonicRegression(out_of_bounds="clip").fit(values, found)
    return np.asarray(curve.predict(values), dtype=np.float64)


def report(head: Head, people: EncodedPeople, faces: list[Enrolled]) -> dict[str, Any]:
    """What was measured, by alteration and by what is known of a face, and the limits."""
    false, found, margin = rates(head, people, faces)
    names = np.array([name for face in faces for name in face.alterations])
    rows: dict[str, Any] = {}

    def figures(which: np.ndarray) -> dict[str, Any]:
        return {
            "faces": int(which.sum()),
            "strangers_matched": float(false[which].mean()),
            "further_photos_found": float(np.nanmean(found[which])),
        }

    for name in (AS_IT_IS, *ALTERATIONS):
        rows[name] = figures(names == name)
    known = {
        "side": [face.box.side for photo in faces for face in photo.faces],
        "sharpness": [face.sharpness for photo in faces for face in photo.faces],
        "probability": [face.probability for photo in faces for face in photo.faces],
        "norm": np.concatenate([photo.encodings.norms for photo in faces]),
        "agreement": np.concatenate([photo.encodings.agreement for photo in faces]),
    }
    values = {name: np.asarray(numbers, dtype=np.float64) for name, numbers in known.items()}
    by: dict[str, list[dict[str, Any]]] = {}
    for name, numbers in values.items():
        edges = np.unique(np.quantile(numbers, _BINS))
        by[name] = [
            {"from": low, "to": high} | figures((numbers >= low) & (numbers <= high))
            for low, high in pairwise(edges.tolist())
        ]
    limits = {}
    for fault, (signs, alteration) in JUDGED_BY.items():
        which = np.isin(names, [AS_IT_IS, *(a for a in ALTERATIONS if a.startswith(alteration))])
        which &= ~np.isnan(found)
        curves = {sign: isotonic(values[sign][which], found[which]) for sign in signs}
        sign = min(curves, key=lambda sign: float(((curves[sign] - found[which]) ** 2).mean()))
        poor = values[sign][which][curves[sign] < LEAST_FOUND]
        ordinary = float(np.quantile(values[sign][names == AS_IT_IS], MOST_WARNED))
        if len(poor):
            limits[fault.value] = {sign: float(f"{min(float(poor.max()), ordinary):.4g}")}
    is_warned = np.zeros(len(names), dtype=np.bool_)
    for judged_by in limits.values():
        for sign, limit in judged_by.items():
            is_warned |= values[sign] < limit
    for name, row in rows.items():
        row["warned_of"] = float(is_warned[names == name].mean())
    return {
        "people": len(people.names),
        "margin": margin,
        "seed": SEED,
        "head_sha256": head.sha256,
        "alterations": rows,
        "by": by,
        "limits": limits,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--work", type=Path, default=Path("build/photo-quality"))
    parser.add_argument("--save", type=Path, help="write the report to this JSON file")
    parser.add_argument("--limits", type=Path, help="write the limits, which ship, to this file")
    arguments = parser.parse_args()
    measured_now = report(*encoded(arguments.folder, arguments.encoder, arguments.work))
    for name, row in measured_now["alterations"].items():
        print(  # noqa: T201
            f"{name}: {row['faces']} faces, {row['strangers_matched'] / RATE:.2f} in 10,000"
            f" strangers matched, {row['further_photos_found']:.1%} of further photos found,"
            f" {row['warned_of']:.1%} warned of"
        )
    print(f"limits: {measured_now['limits']}")  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(measured_now, indent=2) + "\n")
    if arguments.limits is not None:
        shipped = {key: measured_now[key] for key in ("limits", "seed", "head_sha256")}
        arguments.limits.write_text(json.dumps(shipped, indent=2) + "\n")


if __name__ == "__main__":
    # Other processes can be sent a module's functions, but not those of __main__.
    from tests.bench import photo_quality as module

    module.main()
