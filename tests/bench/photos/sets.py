"""The sets of photos, and who is enrolled, drawn with a seed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gallery.training.dataset import people_in
from gallery.vision.folder import photos_in

SHRUNK, JPEG_QUALITY = 1280, 90
"""The longer side of shrunk photos, in pixels."""


@dataclass(frozen=True)
class PhotoSet:
    """Photos in slices that are alike, one for each round.

    slices : of each round, its copies; a copy has the same photos under other names.
    is_long : whether a photo takes long, so that fewer are enough.
    """

    name: str
    slices: tuple[tuple[tuple[Path, ...], ...], ...]
    is_long: bool

    @property
    def photos(self) -> list[Path]:
        """Each photo once."""
        return [photo for copies in self.slices for photo in copies[0]]

    def turn(self, number: int, least: int) -> list[Path]:
        """The photos of a round, all of them as often as it takes to be at least so many."""
        copies = self.slices[number]
        enough = -(-least // len(copies[0]))
        return [photo for copy in copies[:enough] for photo in copy]


@dataclass(frozen=True)
class Drawn:
    """enrolled : (name, photo) of each person.  probes : other photos, of anybody."""

    enrolled: list[tuple[str, Path]]
    probes: list[Path]


def draw(lfw: Path, people: int, photos: int, seed: int) -> Drawn:
    """Draw people with one photo each, and as many other photos."""
    rng = np.random.default_rng(seed)
    everyone = list(people_in(lfw).people.items())
    chosen = rng.permutation(len(everyone))[:people]
    enrolled = [(everyone[i][0], everyone[i][1][0]) for i in chosen]
    taken = {photo for _, photo in enrolled}
    others = [photo for _, own in everyone for photo in own if photo not in taken]
    return Drawn(enrolled, [others[i] for i in rng.permutation(len(others))[:photos]])


def prepared(
    name: str, photos: list[Path], folder: Path, *, rounds: int, least: int, is_long: bool
) -> PhotoSet:
    """Copy photos into a folder, and deal them out by size to the rounds.

    least : photos of a turn, for which there must be copies.
    """
    rounds = min(rounds, len(photos))
    by_size = sorted(photos, key=lambda photo: (_pixels(photo), photo))
    slices = []
    for number in range(rounds):
        # Forwards and backwards: no round has the larger photo each time.
        own = [p for i, p in enumerate(by_size) if _dealt_to(i, rounds) == number]
        copies = -(-least // len(own))
        slices.append(
            tuple(
                tuple(_copy(p, folder / str(number) / str(copy)) for p in own)
                for copy in range(copies)
            )
        )
    return PhotoSet(name, tuple(slices), is_long)


def drawn_from(folder: Path, photos: int | None, seed: int) -> list[Path]:
    """So many photos of a folder, or all of them."""
    everything = photos_in(folder)
    return [everything[i] for i in np.random.default_rng(seed).permutation(len(everything))][
        :photos
    ]


def shrunk(originals: list[Path], target: Path) -> list[Path]:
    """The photos, those with a longer side above SHRUNK pixels shrunk into a folder."""
    target.mkdir()
    photos = []
    for path in originals:
        with Image.open(path) as image:
            factor = SHRUNK / max(image.size)
            if factor >= 1:
                photos.append(path)
                continue
            size = round(image.width * factor), round(image.height * factor)
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        photos.append(target / f"{path.stem}.jpg")
        small.save(photos[-1], quality=JPEG_QUALITY)
    return photos


def _pixels(photo: Path) -> int:
    with Image.open(photo) as image:
        return image.width * image.height


def _dealt_to(i: int, rounds: int) -> int:
    lap, place = divmod(i, rounds)
    return place if lap % 2 == 0 else rounds - 1 - place


def _copy(photo: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(photo, folder / photo.name))
