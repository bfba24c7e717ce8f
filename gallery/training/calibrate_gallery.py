"""Refit the operating point to a gallery's own people, on photos of strangers to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gallery.errors import TrainingDataTooSmall
from gallery.matching.head import Head
from gallery.matching.operating_point import Adjustment, OperatingPoint
from gallery.matching.recalibration import Evidence
from gallery.matching.scorer import near_margins
from gallery.matching.templates import Templates, fused
from gallery.store.records import StoredEncodings
from gallery.training.cleaning import Conflicts, border, without_conflicts
from gallery.training.dataset import strangers_in
from gallery.training.encode import EncodedPeople
from gallery.training.statistics import interval
from gallery.training.workflow import (
    GalleryParts,
    PipelineFactory,
    Progress,
    encode_folder,
    no_progress,
)
from gallery.types import Bool, Encodings, Float32, Int64

LEAST_STRANGERS, LEAST_STRANGER_PHOTOS, LEAST_IDENTITIES = 30, 50, 5
_FOLDS = 5
_MOST_KNOWN = 1_000


@dataclass(frozen=True)
class OwnCalibration:
    """What was fitted, and what it does.

    report : numbers alone: strangers named and known found, before and after, with intervals.
    evidence : what it can be fitted to again.
    named : photos of strangers that get a name before: (photo, identity id), the likeliest first.
    """

    adjustment: Adjustment
    report: dict[str, Any]
    evidence: Evidence
    named: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CalibrationRun:
    """A calibration that was kept and put in use.

    version : its number.
    already_enrolled : photos of strangers that were left out because they are enrolled.
    conflicts : photos that were left out because the folder has them more than once.
    """

    version: int
    calibration: OwnCalibration
    already_enrolled: tuple[str, ...]
    conflicts: Conflicts


def calibrate_gallery(
    gallery: GalleryParts,
    strangers_folder: Path,
    *,
    seed: int = 0,
    make_pipeline: PipelineFactory | None = None,
    progress: Progress = no_progress,
) -> CalibrationRun:
    """Calibrate the head in use on photos of strangers; keep the result and put it in use.

    strangers_folder : people who are not in the gallery, one folder per person or loose photos.
    make_pipeline : see encode_folder.
    Raises TrainingDataTooSmall, NoPeople or PhotoUnreadable.
    """
    folder = strangers_in(strangers_folder)
    encoded = encode_folder(gallery, folder, make_pipeline=make_pipeline, progress=progress)
    people, conflicts = without_conflicts(encoded)
    stored = gallery.encodings()
    fresh = not_enrolled(people, stored, {face.photo_sha256 for face in gallery.faces()})
    enrolled = tuple(people.photos[i] for i in np.flatnonzero(~fresh).tolist())
    scorer = gallery.scorer
    strangers = people.take(np.flatnonzero(fresh))
    progress("calibrating", 0, 1)
    try:
        fitted = calibrate_on(scorer.head, scorer.point(), stored, strangers, seed=seed)
    except TrainingDataTooSmall as error:
        if not enrolled:
            raise
        raise TrainingDataTooSmall(
            f"{error}; photos left out because they are enrolled: {len(enrolled)}, such as"
            f" {enrolled[0]}"
        ) from error
    version = gallery.keep_calibration(
        fitted.adjustment.as_json(), fitted.report, fitted.evidence.as_json()
    )
    progress("calibrating", 1, 1)
    return CalibrationRun(version, fitted, enrolled, conflicts)


def not_enrolled(strangers: EncodedPeople, stored: StoredEncodings, photos: set[str]) -> Bool:
    """Which strangers' photos are not a picture that is enrolled, bool (n,).

    photos : SHA-256 of the enrolled photos' files. Near-identical encodings count as well.
    """
    if not len(strangers):
        return np.zeros(0, dtype=np.bool_)
    same_file = np.array([sha256 in photos for sha256 in strangers.sha256], dtype=np.bool_)
    closest = np.array(
        [
            float((stored.encodings.vectors @ vector).max(initial=-1.0))
            for vector in strangers.enrolled.vectors
        ]
    )
    return ~same_file & (closest < border(strangers))


def calibrate_on(
    head: Head,
    before: OperatingPoint,
    stored: StoredEncodings,
    strangers: EncodedPeople,
    *,
    seed: int,
) -> OwnCalibration:
    """Fit the adjustment to all strangers; what it does is measured by cross-validation over them.

    before : the point in use.  stored : every enrolled face.
    Raises TrainingDataTooSmall, saying how much more is needed.
    """
    _refuse_too_few(stored, strangers)
    templates = fused(stored.identity_ids, stored.encodings)
    margins = near_margins(head, strangers.probes, templates.encodings)
    best = margins.argmax(axis=1)
    evidence = Evidence.of(strangers.people, margins, templates.identity_ids, seed)
    tops = evidence.tops
    after = evidence.fit(before)
    held_out = _cross_validated(
        lambda rows: evidence.fit(before, rows), tops, strangers.people, seed
    )
    known = _known(head, stored, templates, seed)
    said = {
        "rate": before.rate,
        "identities": len(templates.identity_ids),
        "strangers": {
            "people": len(np.unique(strangers.people)),
            "photos": len(strangers),
        },
        "before": _measured(strangers.people, before.same(tops), known, before, seed),
        "after": _measured(strangers.people, held_out, known, after, seed),
        "seed": seed,
    }
    over = np.flatnonzero(before.same(tops))
    over = over[np.argsort(-tops[over])]
    named = tuple(
        (strangers.photos[i], int(templates.identity_ids[best[i]])) for i in over.tolist()
    )
    return OwnCalibration(after.adjustment, said, evidence, named)


def _refuse_too_few(stored: StoredEncodings, strangers: EncodedPeople) -> None:
    faces = np.unique(stored.identity_ids, return_counts=True)[1]
    able, people = int((faces >= 2).sum()), len(np.unique(strangers.people))
    wanting = []
    if people < LEAST_STRANGERS:
        wanting.append(f"{people} strangers, {LEAST_STRANGERS - people} more are needed")
    if len(strangers) < LEAST_STRANGER_PHOTOS:
        wanting.append(
            f"{len(strangers)} photos of strangers with a face,"
            f" {LEAST_STRANGER_PHOTOS - len(strangers)} more are needed"
        )
    if able < LEAST_IDENTITIES:
        wanting.append(
            f"{able} identities with two or more photos, {LEAST_IDENTITIES - able} more are needed"
        )
    if wanting:
        raise TrainingDataTooSmall(f"too little to calibrate on: {'; '.join(wanting)}")


def _cross_validated(
    fit: Callable[[Bool], OperatingPoint], tops: Float32, people: Int64, seed: int
) -> Bool:
    """Who gets a name at a point fitted on the others, bool (n,); a person is in one fold."""
    numbers = np.unique(people)
    order = np.random.default_rng(seed).permutation(numbers)
    named = np.zeros(len(tops), dtype=np.bool_)
    for fold in range(_FOLDS):
        here = np.isin(people, order[fold::_FOLDS])
        named[here] = fit(~here).same(tops[here])
    return named


@dataclass(frozen=True)
class _Known:
    """Enrolled faces, each as if it were a query and not enrolled.

    own, others : float32 (k,), margins to the person's other photos, and to the likeliest other
        person.
    """

    people: Int64
    own: Float32
    others: Float32


def _known(head: Head, stored: StoredEncodings, templates: Templates, seed: int) -> _Known:
    several = templates.identity_ids[templates.photos >= 2]
    rows = np.flatnonzero(np.isin(stored.identity_ids, several))
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_MOST_KNOWN])
    queries, people = stored.encodings.take(rows), stored.identity_ids[rows]
    margins = near_margins(head, queries, templates.encodings)
    places = np.searchsorted(templates.identity_ids, people)
    margins[np.arange(len(rows)), places] = -np.inf
    rest = [
        fused(stored.identity_ids[mine], stored.encodings.take(mine)).encodings
        for row, person in zip(rows.tolist(), people.tolist(), strict=True)
        for mine in [np.setdiff1d(np.flatnonzero(stored.identity_ids == person), [row])]
    ]
    own = head.margins(head.sides(queries), head.sides(Encodings.joined(rest)))
    return _Known(people, own, margins.max(axis=1, initial=-np.inf))


def _measured(
    strangers: Int64, named: Bool, known: _Known, point: OperatingPoint, seed: int
) -> dict[str, Any]:
    found = point.same(known.own) & ~point.same(known.others)
    return {
        "bias": point.bias,
        "strangers_named": float(named.mean()),
        "strangers_named_interval": list(interval(strangers, named, seed=seed)),
        "known_found": float(found.mean()),
        "known_found_interval": list(interval(known.people, found, seed=seed)),
    }
