"""The promise in a crowd: photos of several strangers, and how many of them have a name.

    python -m tests.bench.crowds LFW --encoder mobilefacenet --errata errata.csv

Galleries of random test people, three photos each; the faces of 2, 5 and 14 random strangers at a
time make one photo. At the stated rate of 1 %, once for each face and once for the photo as a whole
(GALLERY_PROMISE). Nothing is fitted. With --photos, the names given in a folder of photos of people
who are not enrolled are counted too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gallery.gallery import Gallery
from gallery.matching.gallery_margins import gallery_impostors, shortlist_margins
from gallery.matching.head import Head
from gallery.matching.operating_point import (
    DEFAULT_FPIR,
    operating_point,
    rate_for_any,
    rate_for_each,
)
from gallery.training.encode import EncodedPeople
from gallery.training.random_galleries import draw_gallery
from gallery.types import Encodings
from gallery.vision.folder import photos_in
from tests.bench.alike import SEED, encoded, parser_of

SIZES, FACES, DRAWS, PHOTOS = (10, 100, 1_000), (2, 5, 14), 10, 4_000


def shares(head: Head, people: EncodedPeople, size: int) -> dict[tuple[str, int], list[float]]:
    """By promise and number of faces: the shares of photos with a name, and of known faces found,
    one of each a draw.
    """
    rng = np.random.default_rng(SEED)
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(DRAWS):
        drawn = draw_gallery(people, size, rng, photos=3)
        templates = drawn.templates
        impostors = gallery_impostors(head, templates.identity_ids, templates.encodings)
        margins = shortlist_margins(head, people.probes.take(drawn.probes), templates, impostors)
        best = margins.max(axis=1)
        strangers = np.flatnonzero(~drawn.known)
        for faces in FACES:
            crowds = rng.choice(strangers, (PHOTOS, faces))
            for promise in ("face", "photo"):
                rate = DEFAULT_FPIR if promise == "face" else rate_for_each(DEFAULT_FPIR, faces)
                point = operating_point(
                    head.metadata.calibration, size, fpir=rate, impostors=impostors
                )
                named = float((best[crowds] > point.bias).any(axis=1).mean())
                known = float((best[drawn.known] > point.bias).mean())
                found.setdefault((promise, faces), []).extend((named, known))
    return found


def faces_in(arguments: argparse.Namespace) -> dict[str, Encodings]:
    """Every face of each photo with faces, by its name, encoded as in a query."""
    encodings = {}
    with Gallery.open(arguments.work / f"home-{arguments.encoder}") as gallery:
        for path in photos_in(arguments.photos):
            photo = gallery.pipeline.open(path)
            faces = gallery.pipeline.faces(photo)
            if faces:
                views = gallery.pipeline.views.probe
                encodings[path.name] = gallery.pipeline.encode(photo, faces, views)
    return encodings


def print_names(head: Head, people: EncodedPeople, photos: dict[str, Encodings]) -> None:
    """Print how many faces and photos have a name, in one random gallery of each size."""
    faces = np.array([len(encodings) for encodings in photos.values()])
    owners = np.repeat(np.arange(len(photos)), faces)
    files = list(photos)
    for size in SIZES:
        templates = draw_gallery(people, size, np.random.default_rng(SEED), photos=3).templates
        impostors = gallery_impostors(head, templates.identity_ids, templates.encodings)
        margins = shortlist_margins(
            head, Encodings.joined(list(photos.values())), templates, impostors
        )
        best = margins.argmax(axis=1)
        for promise in ("face", "photo"):
            rates = [
                DEFAULT_FPIR if promise == "face" else rate_for_each(DEFAULT_FPIR, n) for n in faces
            ]
            biases = np.array(
                [
                    operating_point(
                        head.metadata.calibration, size, fpir=rate, impostors=impostors
                    ).bias
                    for rate in rates
                ]
            )
            named = margins.max(axis=1) > biases[owners]
            given = {
                f"{files[owners[i]]} {people.names[templates.identity_ids[best[i]]]}"
                for i in np.flatnonzero(named)
            }
            print(  # noqa: T201
                f"{size} people, GALLERY_PROMISE={promise}: {named.sum()} of {len(owners)} faces"
                f" named, in {len(np.unique(owners[named]))} of {len(photos)} photos:"
                f" {', '.join(sorted(given)) or 'none'}"
            )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos of people not enrolled")
    arguments = parser.parse_args()
    head, people = encoded(arguments, arguments.encoder, altered_photos=False)
    if arguments.photos is not None:
        print_names(head, people["everyone"], faces_in(arguments))
        return
    for size in SIZES:
        for (promise, faces), figures in shares(head, people["everyone"], size).items():
            stated = rate_for_any(DEFAULT_FPIR, faces) if promise == "face" else DEFAULT_FPIR
            named, known = figures[::2], figures[1::2]
            print(  # noqa: T201
                f"{size} people, {faces} strangers, GALLERY_PROMISE={promise}: a name in"
                f" {np.mean(named):.2%} of photos (draws {min(named):.2%} to {max(named):.2%}),"
                f" stated {stated:.2%}; {np.mean(known):.1%} of known faces match"
            )


if __name__ == "__main__":
    main()
