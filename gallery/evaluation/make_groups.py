"""Groups of people made from their encodings or from their photos, one group per person.

Neither says anything about who the people are: a cluster is a set of similar encodings, and a
condition is a property of the photos.
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from gallery.errors import PhotoError, TrainingDataTooSmall
from gallery.evaluation.groups import COLUMNS
from gallery.matching.templates import fuse_templates
from gallery.progress import Progress, no_progress
from gallery.training.dataset import PeopleFolder
from gallery.training.encode import EncodedPeople
from gallery.types import Photo
from gallery.vision.pipeline import FacePipeline
from indexer.whole_file import atomic_write

_GREY_SPREAD = 4.0
"""A photo is grey if its colour channels differ by less, 0 to 255, in the mean over its pixels."""
_TONES = ("dark", "medium", "bright")


def cluster_groups(people: EncodedPeople, clusters: int, seed: int) -> dict[str, str]:
    """k-means of the people's fused encodings; "cluster 1" is the largest.

    Raises TrainingDataTooSmall if there are fewer people than clusters.
    """
    templates = fuse_templates(people.people, people.enrolled)
    if len(templates.identity_ids) < clusters:
        raise TrainingDataTooSmall(
            f"{len(templates.identity_ids)} people with a face are fewer than {clusters} clusters;"
            " ask for fewer with --clusters"
        )
    means = KMeans(clusters, n_init=10, random_state=seed)
    labels = means.fit_predict(templates.encodings.vectors)
    order = np.argsort(-np.bincount(labels, minlength=clusters), kind="stable")
    ranks = np.argsort(order)[labels]
    return {
        people.names[person]: f"cluster {rank + 1}"
        for person, rank in zip(templates.identity_ids.tolist(), ranks.tolist(), strict=True)
    }


def condition_groups(
    folder: PeopleFolder, pipeline: FacePipeline, progress: Progress = no_progress
) -> dict[str, str]:
    """By the middle of each person's photos, half as wide and high, where the face mostly is.

    "grey": most of their photos are without colour. The others are "dark", "medium" or "bright", a
    third each, by the median over their photos. People without a readable photo have no group.
    """
    spreads, tones = {}, {}
    done = 0
    for name, files in folder.people.items():
        figures = []
        for file in files:
            with suppress(PhotoError):
                figures.append(_colour_and_brightness(pipeline.open(file)))
            done += 1
            progress(done, folder.photos)
        if figures:
            spreads[name], tones[name] = np.median(figures, axis=0).tolist()
    coloured = sorted(
        (name for name in tones if spreads[name] >= _GREY_SPREAD), key=lambda name: tones[name]
    )
    thirds = {
        name: _TONES[rank * len(_TONES) // len(coloured)] for rank, name in enumerate(coloured)
    }
    return {name: thirds.get(name, "grey") for name in tones}


def _colour_and_brightness(photo: Photo) -> tuple[float, float]:
    """How far the colour channels differ, and how bright they are, 0 to 255, in the mean."""
    height, width, _ = photo.pixels.shape
    middle = photo.pixels[
        height // 4 : height - height // 4, width // 4 : width - width // 4
    ].astype(np.float32)
    return float(np.ptp(middle, axis=2).mean()), float(middle.mean())


def write_groups(groups: dict[str, str], file: Path) -> None:
    """Write them as a CSV with the columns person and group, atomically. Raises OSError."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows(groups.items())
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as target:
        target.write(text.getvalue().encode())
