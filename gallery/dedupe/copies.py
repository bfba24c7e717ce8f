"""Which photos are copies of one another, by bytes, by look, or by their faces.

The limits below were read off 100 LFW photos of as many people, each altered six ways (quality
30, halved, cropped by a tenth, darkened by half, mirrored, turned by 8 degrees) and compared with
itself and with another photo of the same person: a copy's face has a cosine of 0.986 or more in
99 of 100, another photo of the person one of 0.985 or less in 99 of 100.
"""

from __future__ import annotations

from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from gallery.types import Float32, Photo, UInt8
from indexer import Edges

SAME_FACE_COSINE = 0.988
"""Two encodings at least this alike are of one picture of a face."""
_NEAR_BITS = 6
_SAME_LOOK = 0.90
_LOOK_SIDE = 32
_BLOCK = 512


@dataclass(frozen=True)
class PhotoPrint:
    """What is remembered of a photo to find its copies.

    bits : uint8 (8,), a 64-bit perceptual hash.
    look : float32 (1024,), a tiny grey picture, mean 0 and length 1.
    faces : the rows its faces have among all faces of the folder.
    """

    sha256: str
    bits: UInt8
    look: Float32
    faces: tuple[int, ...]


@dataclass(frozen=True)
class CopyPair:
    """Two photos that are copies. similarity : 1 for equal bytes."""

    first: int
    second: int
    similarity: float
    why: str


def print_of(photo: Photo, faces: tuple[int, ...]) -> PhotoPrint:
    """Of a decoded, upright photo."""
    image = Image.fromarray(photo.pixels)
    bits = np.packbits(imagehash.phash(image).hash.ravel())
    grey = image.convert("L").resize((_LOOK_SIDE, _LOOK_SIDE), Image.Resampling.BOX)
    look = np.asarray(grey, dtype=np.float32).ravel()
    look = look - look.mean()
    length = float(np.linalg.norm(look))
    return PhotoPrint(photo.sha256, bits, look / length if length else look, faces)


def copy_pairs(prints: list[PhotoPrint], edges: Edges) -> list[CopyPair]:
    """Every pair of copies, each once.

    edges : near pairs among the faces of all the photos, with exact cosines.
    """
    found: dict[tuple[int, int], CopyPair] = {}
    for pair in (*_same_bytes(prints), *_same_look(prints), *_same_faces(prints, edges)):
        found.setdefault((pair.first, pair.second), pair)
    return list(found.values())


def _same_bytes(prints: list[PhotoPrint]) -> list[CopyPair]:
    first_of: dict[str, int] = {}
    return [
        CopyPair(first, i, 1.0, "same bytes")
        for i, print_ in enumerate(prints)
        if (first := first_of.setdefault(print_.sha256, i)) != i
    ]


def _same_look(prints: list[PhotoPrint]) -> list[CopyPair]:
    """Near perceptual hashes, confirmed on the tiny pictures."""
    if not prints:
        return []
    bits = np.stack([p.bits for p in prints])  # (n, 8)
    pairs: list[CopyPair] = []
    for start in range(0, len(prints), _BLOCK):
        differing = np.bitwise_count(bits[start : start + _BLOCK, None] ^ bits[None]).sum(axis=2)
        for row, j in zip(*np.nonzero(differing <= _NEAR_BITS), strict=True):
            i = start + int(row)
            alike = float(prints[i].look @ prints[j].look)
            if i < j and alike >= _SAME_LOOK:
                pairs.append(CopyPair(i, int(j), alike, "same picture"))
    return pairs


def _same_faces(prints: list[PhotoPrint], edges: Edges) -> list[CopyPair]:
    """Photos whose faces are all one another's: cropped, mirrored or turned copies."""
    photo_of = {face: i for i, print_ in enumerate(prints) for face in print_.faces}
    alike: dict[tuple[int, int], list[float]] = {}
    near = edges.similarities >= SAME_FACE_COSINE
    for a, b, cosine in zip(
        edges.first[near].tolist(),
        edges.second[near].tolist(),
        edges.similarities[near].tolist(),
        strict=True,
    ):
        i, j = sorted((photo_of[a], photo_of[b]))
        if i != j:
            alike.setdefault((i, j), []).append(cosine)
    return [
        CopyPair(i, j, min(cosines), "same picture of every face")
        for (i, j), cosines in alike.items()
        if len(cosines) >= max(len(prints[i].faces), len(prints[j].faces))
    ]
