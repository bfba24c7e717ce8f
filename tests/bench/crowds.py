"""The promise in a crowd: photos of several strangers, and how many of them have a name.

    python -m tests.bench.crowds LFW --encoder mobilefacenet --errata errata.csv

Galleries of random test people, three photos each; the faces of 2, 5 and 14 random strangers at a
time make one photo. At the stated rate of 1 %, once for each face and once for the photo as a whole
(GALLERY_PROMISE). Nothing is fitted.
"""

from __future__ import annotations

import numpy as np

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


def main() -> None:
    arguments = parser_of(__doc__).parse_args()
    head, people = encoded(arguments, arguments.encoder, altered_photos=False)
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
