"""Faces found in large, turned and badly lit photos, and false ones where there is no face.

    python -m tests.bench.detection LFW --without NOFACE --save detection.json

LFW's test people, one photo each. Large: pasted at their size, with faces about 90 pixels wide,
into photos without faces. Lit from a side: the face alone, cut tightly. The peer is
facenet-pytorch's MTCNN, as its README shows it, in the same run.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image

from gallery.config import load_settings
from gallery.errors import PhotoError
from gallery.factory import build_pipeline
from gallery.training.dataset import people_in
from gallery.types import UInt8
from gallery.vision.folder import photos_in
from gallery.vision.pipeline import FacePipeline

SIZES = {"landscape": (6000, 4000, 24), "portrait": (4000, 6000, 1), "panorama": (20000, 2500, 24)}
TURNS = (90, 180, 270, 30, 45, 60)
MIDPOINTS = (0.5, 0.6, 0.7)
"""Where across the face the light begins; the rest has a twentieth of it."""
FACE = (75, 65, 175, 185)
"""Where the face is in a photo of LFW, tightly."""
ROUNDS = 3


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()


def large(size: tuple[int, int], people: Sequence[Path], backgrounds: Sequence[Path]) -> bytes:
    """The people in a grid over the backgrounds, as JPEG."""
    image = Image.new("RGB", size)
    tiles = [(x, y) for y in range(0, size[1], 800) for x in range(0, size[0], 1000)]
    for i, place in enumerate(tiles):
        with Image.open(backgrounds[i % len(backgrounds)]) as background:
            image.paste(background.convert("RGB").resize((1000, 800)), place)
    columns = max(1, round((len(people) * size[0] / size[1]) ** 0.5))
    rows = -(-len(people) // columns)
    for i, person in enumerate(people):
        x = int((i % columns + 0.5) * size[0] / columns) - 125
        y = int((i // columns + 0.5) * size[1] / rows) - 125
        with Image.open(person) as face:
            image.paste(face, (x, y))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=92)
    return content.getvalue()


def timed(call: Callable[[], int]) -> tuple[int, float]:
    """The answer, and the seconds of the shortest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - start)
    return answer, min(times)


def boxes_of(peer: MTCNN, image: Image.Image | UInt8) -> int:
    """How many faces the peer finds that are as large and as likely as ours must be."""
    boxes, probabilities = peer.detect(image)
    if boxes is None:
        return 0
    sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return int(((sides >= 40) & (probabilities >= 0.99)).sum())


def show(name: str, result: dict[str, Any]) -> None:
    print(name, json.dumps(result), flush=True)  # noqa: T201


def large_photos(
    pipeline: FacePipeline, people: list[Path], backgrounds: list[Path]
) -> dict[str, Any]:
    """Faces found, and the time beside MTCNN on the whole photo and on the working image."""
    whole, forty = MTCNN(keep_all=True), MTCNN(keep_all=True, min_face_size=40)
    results = {}
    for name, (width, height, count) in SIZES.items():
        content = large((width, height), people[:count], backgrounds)
        ours, ours_seconds = timed(lambda c=content: len(pipeline.faces(pipeline.open(c))))
        shrunk, shrunk_seconds = timed(lambda c=content: boxes_of(forty, pipeline.open(c).pixels))
        theirs, their_seconds = timed(
            lambda c=content: boxes_of(whole, Image.open(io.BytesIO(c)).convert("RGB"))
        )
        results[name] = {
            "size": [width, height],
            "people": count,
            "found": ours,
            "mtcnn_in_the_working_image": shrunk,
            "mtcnn_in_the_whole_photo": theirs,
            "seconds": round(ours_seconds, 2),
            "times_the_working_image": round(ours_seconds / shrunk_seconds, 2),
            "times_the_whole_photo": round(ours_seconds / their_seconds, 2),
        }
        show(name, results[name])
    return results


def lit_from(image: Image.Image, side: str, midpoint: float) -> Image.Image:
    """The face alone, 168 x 192, with one side of it at a twentieth of its light."""
    pixels = np.asarray(image.crop(FACE).resize((168, 192), Image.Resampling.BICUBIC), float)
    across = np.linspace(0.0, 1.0, pixels.shape[1])
    across = across if side == "left" else 1.0 - across
    light = 0.05 + 0.95 / (1.0 + np.exp(-25.0 * (across - midpoint)))
    return Image.fromarray(np.rint(pixels * light[None, :, None]).astype(np.uint8))


def altered(pipeline: FacePipeline, photos: list[Path], kind: str, value: float) -> dict[str, Any]:
    """How many photos have a face once they are altered, and how like their plain photo it is."""
    peer = MTCNN(keep_all=True, min_face_size=40)
    found, theirs, total = 0, 0, 0
    cosines = []
    for i, path in enumerate(photos):
        image = Image.open(path).convert("RGB")
        plain = pipeline.open(png(image))
        plain_faces = pipeline.faces(plain)
        if kind == "turned":
            picture = image.rotate(value, Image.Resampling.BICUBIC, expand=True)
        else:
            picture = lit_from(image, ("left", "right")[i % 2], value)
        photo = pipeline.open(png(picture))
        faces = pipeline.faces(photo)
        total += 1
        found += bool(faces)
        theirs += boxes_of(peer, picture) > 0
        if faces and plain_faces:
            rows = pipeline.encode(photo, faces[:1], 2), pipeline.encode(plain, plain_faces[:1], 2)
            cosines.append(float(rows[0].vectors[0] @ rows[1].vectors[0]))
    result = {
        "photos": total,
        "found": found,
        "found_by_mtcnn": theirs,
        "cosine_to_the_plain_photo": [
            round(float(q), 3) for q in np.quantile(cosines, (0.05, 0.5))
        ],
    }
    show(f"{kind} {value}", result)
    return result


def false_faces(pipeline: FacePipeline, folders: list[Path]) -> dict[str, int]:
    """Photos without faces, and the faces found in them."""
    counts = {"photos": 0, "faces": 0}
    for path in (photo for folder in folders for photo in photos_in(folder)):
        try:
            counts["faces"] += len(pipeline.faces(pipeline.open(path)))
            counts["photos"] += 1
        except PhotoError:  # a broken file has no faces
            continue
    show("without faces", counts)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without", type=Path, nargs="+", required=True)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    everyone = [photos[0] for photos in people_in(arguments.folder, "test").people.values()]
    people = everyone[:: max(1, len(everyone) // arguments.people)][: arguments.people]
    pipeline = build_pipeline(load_settings(threads=1))
    torch.set_num_threads(1)
    results = {
        "torch": torch.__version__,
        "large": large_photos(pipeline, people, photos_in(arguments.without[0])),
        "turned": {degrees: altered(pipeline, people, "turned", degrees) for degrees in TURNS},
        "lit_from_a_side": {m: altered(pipeline, people, "lit", m) for m in MIDPOINTS},
        "without_faces": false_faces(pipeline, arguments.without),
    }
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
