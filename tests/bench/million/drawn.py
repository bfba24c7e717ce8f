"""Encodings drawn after real ones: people as far apart, and photos as near, as on LFW."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.factory import build_workers
from gallery.gallery import Gallery
from gallery.training.dataset import people_in
from gallery.training.encode import encode_people
from gallery.types import Encodings, Float32, Float64, Int64

PHOTOS = 3
"""Of each enrolled person."""
_LEAST_PHOTOS = 3
"""Of people whose photos' differences to their person's mean are drawn from."""


@dataclass(frozen=True)
class Statistics:
    """Of the training people of a folder.

    mean, covariance : of people's encodings, float64 (128,) and (128, 128).
    differences : of photos to the mean of their person, float32 (p, 128), with the photos' own
        norms and agreement, float32 (p,).
    """

    mean: Float64
    covariance: Float64
    differences: Float32
    norms: Float32
    agreement: Float32


@dataclass(frozen=True)
class Drawn:
    """gallery, people : the enrolled faces, and whose they are, int64 (n,).

    known, known_people : further photos of some of these people.  strangers : photos of others.
    """

    gallery: Encodings
    people: Int64
    known: Encodings
    known_people: Int64
    strangers: Encodings

    def save(self, folder: Path, encoder: tuple[str, str]) -> None:
        """Write the arrays for other processes, and an archive that `gallery import` reads."""
        np.save(folder / "rows.npy", self.gallery.vectors)
        for name in ("people", "known_people"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        for name in ("known", "strangers"):
            probes: Encodings = getattr(self, name)
            np.save(folder / f"{name}.npy", probes.vectors)
            np.save(folder / f"{name}-signs.npy", np.stack([probes.norms, probes.agreement]))
        np.savez(
            folder / "faces.npz",
            encoder=np.array(encoder),
            names=np.array([f"person {person}" for person in self.people]),
            photos=np.array([f"people/{p}/{i}.jpg" for i, p in enumerate(self.people)]),
            encodings=self.gallery.vectors,
            norms=self.gallery.norms,
            agreement=self.gallery.agreement,
        )


def loaded(folder: Path, name: str) -> Encodings:
    """The probes that were saved under this name."""
    norms, agreement = np.load(folder / f"{name}-signs.npy")
    return Encodings(np.load(folder / f"{name}.npy"), norms, agreement)


def statistics(gallery: Gallery, lfw: Path) -> Statistics:
    """Encode the training people of LFW with the gallery's encoder."""
    people = encode_people(
        people_in(lfw, "train"),
        gallery.pipeline,
        gallery.pipeline.views,
        gallery.settings.cache,
        workers=build_workers(gallery.settings, gallery.spec),
    )
    rows, owners = people.enrolled.vectors.astype(np.float64), people.people
    counts = np.bincount(owners)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, owners, rows)
    means = sums[counts > 0] / counts[counts > 0, None]
    has_several = counts[owners] >= _LEAST_PHOTOS
    of_owner = np.cumsum(counts > 0) - 1
    differences = rows[has_several] - means[of_owner[owners[has_several]]]
    # A mean of few photos lies too near to each of them.
    differences *= np.sqrt(counts / np.maximum(counts - 1, 1))[owners[has_several], None]
    within = differences.T @ differences / len(differences)
    noise = within * (1 / counts[counts > 0]).mean()  # of the means
    values, vectors = np.linalg.eigh(np.cov(means.T) - noise)
    covariance = (vectors * np.maximum(values, 0.0)) @ vectors.T
    signs = people.enrolled.take(np.flatnonzero(has_several))
    return Statistics(
        means.mean(axis=0),
        covariance,
        differences.astype(np.float32),
        signs.norms,
        signs.agreement,
    )


def draw(real: Statistics, faces: int, probes: int, seed: int) -> Drawn:
    """Draw a gallery of so many faces, and so many probes of known people and of strangers.

    A person is normally distributed with the real people's covariance; a photo is its person and
    the difference of a real photo to its person, of which it also has norm and agreement.
    """
    random = np.random.default_rng(seed)
    count = -(-faces // PHOTOS)
    root = np.linalg.cholesky(real.covariance + 1e-9 * np.eye(len(real.mean))).astype(np.float32)
    means = random.standard_normal((count + probes, len(root)), dtype=np.float32) @ root.T
    means += real.mean.astype(np.float32)
    people = np.repeat(np.arange(count), PHOTOS)[:faces]
    known = np.sort(random.choice(count, min(count, probes), replace=False))

    def photos(of: Float32) -> Encodings:
        like = random.integers(len(real.differences), size=len(of))
        rows = of + real.differences[like]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return Encodings(rows, real.norms[like], real.agreement[like])

    return Drawn(photos(means[people]), people, photos(means[known]), known, photos(means[count:]))
