"""Refit the operating point to a gallery's own people, on photos of strangers to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gallery.errors import EncoderChanged, TrainingDataTooSmall
from gallery.matching.adjustment import Adjustment
from gallery.matching.gallery_margins import pair_margins, shortlist_margins
from gallery.matching.head import Head
from gallery.matching.impostors import Impostors
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.recalibration import Evidence
from gallery.matching.templates import Templates, fuse_templates
from gallery.progress import StepProgress, no_step_progress
from gallery.store.records import StoredEncodings
from gallery.training.cleaning import DuplicatePhotos, duplicate_cosine, without_duplicates
from gallery.training.dataset import strangers_in
from gallery.training.encode import EncodedPeople
from gallery.training.statistics import interval
from gallery.training.workflow import (
    GalleryLike,
    encode_folder,
)
from gallery.types import Bool, Encodings, Float32, Int64

MIN_STRANGERS, MIN_STRANGER_PHOTOS, MIN_IDENTITIES = 30, 50, 5
_FOLDS = 5
_MAX_KNOWN = 1_000


@dataclass(frozen=True)
class FittedCalibration:
    """A fitted adjustment of the operating point, and its effect.

    report : strangers matched and known found, before and after, with intervals; no names.
    evidence : what the adjustment can be fitted to again.
    matched : photos of strangers that matched an identity before: (photo, identity id), the most
        likely first.
    """

    adjustment: Adjustment
    report: dict[str, Any]
    evidence: Evidence
    matched: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CalibrationRun:
    """A calibration that was kept and put in use.

    version : its number.
    already_enrolled : photos of strangers that were left out because they are enrolled.
    duplicates : photos that were left out because the folder has them more than once.
    """

    version: int
    calibration: FittedCalibration
    already_enrolled: tuple[str, ...]
    duplicates: DuplicatePhotos


def calibrate_gallery(
    gallery: GalleryLike,
    strangers_folder: Path,
    *,
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> CalibrationRun:
    """Calibrate the head in use on photos of strangers; keep the result and put it in use.

    strangers_folder : people who are not in the gallery, one folder per person or loose photos.
    Raises TrainingDataTooSmall, NoPeople, PhotoUnreadable, or EncoderChanged if the gallery was
    re-encoded meanwhile.
    """
    folder = strangers_in(strangers_folder)
    pipeline = gallery.pipeline
    encoded = encode_folder(gallery, folder, pipeline=pipeline, progress=progress)
    people, duplicates = without_duplicates(encoded)
    stored = gallery.encodings()
    fresh = not_enrolled(people, stored, {face.photo_sha256 for face in gallery.faces()})
    enrolled = tuple(people.photos[i] for i in np.flatnonzero(~fresh).tolist())
    scorer = gallery.scorer
    strangers = people.take(np.flatnonzero(fresh))
    progress("calibrating", 0, 1)
    try:
        fitted = fit_calibration(
            scorer.head, scorer.operating_point(), stored, strangers, seed=seed
        )
    except TrainingDataTooSmall as error:
        if not enrolled:
            raise
        raise TrainingDataTooSmall(
            f"{error}; photos left out because they are enrolled: {len(enrolled)}, such as"
            f" {enrolled[0]}"
        ) from error
    if scorer.head.metadata.encoder_sha256 != pipeline.encoder.weights_sha256:
        raise EncoderChanged("the gallery was re-encoded during the calibration; run it again")
    version = gallery.keep_calibration(
        fitted.adjustment.as_json(), fitted.report, fitted.evidence.as_json()
    )
    progress("calibrating", 1, 1)
    return CalibrationRun(version, fitted, enrolled, duplicates)


def not_enrolled(strangers: EncodedPeople, stored: StoredEncodings, photos: set[str]) -> Bool:
    """Whether each stranger's photo is not an enrolled picture, by hash or encoding, bool (n,).

    photos : SHA-256 of the enrolled photos' files.
    """
    if not len(strangers):
        return np.zeros(0, dtype=np.bool_)
    is_same_file = np.array([sha256 in photos for sha256 in strangers.sha256], dtype=np.bool_)
    highest_cosines = np.array(
        [
            float((stored.encodings.vectors @ vector).max(initial=-1.0))
            for vector in strangers.enrolled.vectors
        ]
    )
    return ~is_same_file & (highest_cosines < duplicate_cosine(strangers))


def fit_calibration(
    head: Head,
    before: OperatingPoint,
    stored: StoredEncodings,
    strangers: EncodedPeople,
    *,
    seed: int,
) -> FittedCalibration:
    """Fit the adjustment to all strangers; measure its effect by cross-validation over them.

    before : the operating point in use.  stored : all enrolled faces.
    Raises TrainingDataTooSmall with what is missing.
    """
    _refuse_too_few(stored, strangers)
    templates = fuse_templates(stored.identity_ids, stored.encodings)
    assert before.impostors is not None
    margins = shortlist_margins(head, strangers.probes, templates, before.impostors)
    best = margins.argmax(axis=1)
    evidence = Evidence.from_margins(strangers.people, margins, templates.identity_ids, seed)
    tops = evidence.top_margins
    after = evidence.fit(before)
    held_out = _cross_validated(
        lambda rows: evidence.fit(before, rows), tops, strangers.people, seed
    )
    known = _known_margins(head, stored, templates, before.impostors, seed)
    report = {
        "rate": before.fpir,
        "identities": len(templates.identity_ids),
        "strangers": {
            "people": len(np.unique(strangers.people)),
            "photos": len(strangers),
        },
        "before": _measured(strangers.people, before.is_same(tops), known, before, seed),
        "after": _measured(strangers.people, held_out, known, after, seed),
        "seed": seed,
    }
    rows = np.flatnonzero(before.is_same(tops))
    rows = rows[np.argsort(-tops[rows])]
    matched = tuple(
        (strangers.photos[i], int(templates.identity_ids[best[i]])) for i in rows.tolist()
    )
    return FittedCalibration(after.adjustment, report, evidence, matched)


def _refuse_too_few(stored: StoredEncodings, strangers: EncodedPeople) -> None:
    faces = np.unique(stored.identity_ids, return_counts=True)[1]
    usable, people = int((faces >= 2).sum()), len(np.unique(strangers.people))
    missing = []
    if people < MIN_STRANGERS:
        missing.append(f"{people} strangers, {MIN_STRANGERS - people} more are needed")
    if len(strangers) < MIN_STRANGER_PHOTOS:
        missing.append(
            f"{len(strangers)} photos of strangers with a face,"
            f" {MIN_STRANGER_PHOTOS - len(strangers)} more are needed"
        )
    if usable < MIN_IDENTITIES:
        missing.append(
            f"{usable} identities with two or more photos,"
            f" {MIN_IDENTITIES - usable} more are needed"
        )
    if missing:
        raise TrainingDataTooSmall(f"too few photos to calibrate on: {'; '.join(missing)}")


def _cross_validated(
    fit: Callable[[Bool], OperatingPoint], tops: Float32, people: Int64, seed: int
) -> Bool:
    """Whether each photo matches at a point fitted on the other folds, bool (n,).

    All photos of a person are in one fold.
    """
    numbers = np.unique(people)
    order = np.random.default_rng(seed).permutation(numbers)
    matched = np.zeros(len(tops), dtype=np.bool_)
    for fold in range(_FOLDS):
        in_fold = np.isin(people, order[fold::_FOLDS])
        matched[in_fold] = fit(~in_fold).is_same(tops[in_fold])
    return matched


@dataclass(frozen=True)
class _KnownMargins:
    """Margins of enrolled faces, each queried as if it were not enrolled.

    people : int64 (k,), identity ids.
    own, others : float32 (k,), to the person's other photos, and to the likeliest other person.
    """

    people: Int64
    own: Float32
    others: Float32


def _known_margins(
    head: Head,
    stored: StoredEncodings,
    templates: Templates,
    impostors: Impostors,
    seed: int,
) -> _KnownMargins:
    several = templates.identity_ids[templates.photos >= 2]
    rows = np.flatnonzero(np.isin(stored.identity_ids, several))
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_MAX_KNOWN])
    queries, people = stored.encodings.take(rows), stored.identity_ids[rows]
    margins = shortlist_margins(head, queries, templates, impostors)
    columns = np.searchsorted(templates.identity_ids, people)
    margins[np.arange(len(rows)), columns] = -np.inf
    other_photos = [
        fuse_templates(stored.identity_ids[mine], stored.encodings.take(mine)).encodings
        for row, person in zip(rows.tolist(), people.tolist(), strict=True)
        for mine in [np.setdiff1d(np.flatnonzero(stored.identity_ids == person), [row])]
    ]
    own = pair_margins(head, queries, Encodings.joined(other_photos), impostors)
    return _KnownMargins(people, own, margins.max(axis=1, initial=-np.inf))


def _measured(
    strangers: Int64, matched: Bool, known: _KnownMargins, point: OperatingPoint, seed: int
) -> dict[str, Any]:
    is_identified = point.is_same(known.own) & ~point.is_same(known.others)
    return {
        "bias": point.bias,
        "strangers_named": float(matched.mean()),
        "strangers_named_interval": list(interval(strangers, matched, seed=seed)),
        "known_found": float(is_identified.mean()),
        "known_found_interval": list(interval(known.people, is_identified, seed=seed)),
    }
