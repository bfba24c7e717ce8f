"""Train a head on a folder of people or on the gallery: the workflow of `train-head`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gallery.encoders.built_in import DLIB_TRAITS
from gallery.encoders.encoder import Encoder, encoder_sha256
from gallery.encoders.projection import Projection
from gallery.encoders.protocol import Traits
from gallery.errors import HeadWorse, SettingInvalid
from gallery.matching.head import Head
from gallery.matching.head_files import head_stem
from gallery.progress import StepProgress, no_step_progress
from gallery.training.calibrate import fit_and_calibrate
from gallery.training.choose_recipe import choose_recipe
from gallery.training.cleaning import DuplicatePhotos, without_duplicates
from gallery.training.dataset import people_in
from gallery.training.encode import EncodedPeople, enrolled_people
from gallery.training.errata import corrected, read_errata
from gallery.training.home_head import head_to_replace, projection_to_keep, replacing_home_head
from gallery.training.identification import found_share, hard_pairs_auc
from gallery.training.model_card import model_card, source_of, write_report
from gallery.training.projection import choose_projection, projected
from gallery.training.train import halves
from gallery.training.workflow import (
    GalleryLike,
    encode_folder,
)
from gallery.types import DIMENSION
from gallery.vision.pipeline import FacePipeline


@dataclass(frozen=True)
class HeadFigures:
    """A head measured on the people held out.

    gallery : identities in each random gallery.
    known_found : DIR, the share of known people found, where FPIR is `rate`.
    hard_pairs_auc, distance_auc : area under the ROC curve of the head's margin and of the
        Euclidean distance, on hard pairs.
    """

    gallery: int
    rate: float
    known_found: float
    hard_pairs_auc: float
    distance_auc: float

    @classmethod
    def of(cls, head: Head, people: EncodedPeople, *, rate: float, seed: int) -> HeadFigures:
        return cls(
            len(np.unique(people.people)) // 2,
            rate,
            found_share(head, people, rate=rate, seed=seed),
            *hard_pairs_auc(head, people, seed=seed),
        )

    def as_json(self) -> dict[str, float]:
        """Rounded, as in the model card."""
        return {
            "galleries_of": self.gallery,
            f"found_at_fpir_{self.rate:g}": round(self.known_found, 4),
            "hard_pairs_roc_auc": round(self.hard_pairs_auc, 4),
            "hard_pairs_roc_auc_of_a_distance": round(self.distance_auc, 4),
        }


@dataclass(frozen=True)
class HeadReport:
    """What train_head wrote.

    files : head, model card and plot.  card : the model card.
    figures : measured on the people held out.
    duplicates : photos that were left out.
    """

    files: tuple[Path, ...]
    card: dict[str, Any]
    duplicates: DuplicatePhotos
    figures: HeadFigures


def train_head(
    gallery: GalleryLike,
    people_folder: Path | None = None,
    *,
    pipeline: FacePipeline | None = None,
    out: Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    all_people: bool = False,
    limit: int | None = None,
    errata: Sequence[Path] = (),
    force: bool = False,
    progress: StepProgress = no_step_progress,
) -> HeadReport:
    """Train and calibrate a head, measure it on people held out, and write it with its model card.

    people_folder : one folder per person; None: learn from the gallery's own faces.
    pipeline : of the encoder that the head is for; None is the gallery's.
    out : folder for head, card and plot; None is the gallery's home, where the head is used at
        once.
    epochs : None is the default recipe's.
    all_people : use the test people of a split.csv as well.
    limit : learn from at most this many people, drawn at random.
    errata : files of known mistakes in the folder's labels, applied before training.
    force : replace the head in the home even by a worse one.
    Raises HeadWorse, TrainingDataTooSmall, SettingInvalid, ProtocolUnusable, EncoderChanged,
    DatabaseBusy or OSError.
    """
    settings = gallery.settings
    out = settings.home if out is None else out
    at_home = out.resolve() == settings.home.resolve()
    encoder = (pipeline or gallery.pipeline).encoder
    traits = encoder.network.traits
    if people_folder is None:
        if errata:
            raise SettingInvalid(
                "errata correct a folder of people; give the PEOPLE_FOLDER that they are about"
            )
        everyone, source = _enrolled(gallery, traits)
        projection = gallery.pipeline.encoder.projection
    else:
        folder = people_in(people_folder, None if all_people else "train")
        if limit is not None:
            folder = folder.sample(limit, seed)
        corrections = read_errata(errata, people_folder)
        encoded = encode_folder(gallery, folder, pipeline=pipeline, native=True, progress=progress)
        everyone, source = corrected(encoded, corrections), source_of(folder)
        if corrections is not None:
            source |= {"errata": corrections.as_json()}
        projection = projection_to_keep(gallery, traits, at_home=at_home, force=force)
    people, duplicates = without_duplicates(everyone)
    progress("projection", 0, 1)
    encoder_card = _encoder_card(traits)
    if people_folder is not None:  # the gallery's own encodings are projected already
        people, projection, choice = _project(people, encoder, projection, seed)
        encoder_card |= choice
    progress("choosing a recipe", 0, 1)
    fitted = people.for_people(halves(people, seed)[0])  # the others calibrate the head
    choice_of_recipe = choose_recipe(fitted, seed, epochs)
    recipe = choice_of_recipe.recipe
    sha256 = encoder_sha256(traits.sha256, projection)
    trained = fit_and_calibrate(
        people, recipe, (traits.name, sha256), partial(progress, "training")
    )
    trained = replace(trained, head=trained.head.with_projection(projection))
    rate = settings.false_positive_identification_rate
    figures = HeadFigures.of(trained.head, trained.held_out, rate=rate, seed=seed)
    old = head_to_replace(gallery, traits, sha256) if at_home else None
    if old is not None and not force:
        old_found = found_share(old, trained.held_out, rate=rate, seed=seed)
        if old_found > figures.known_found:
            raise HeadWorse(
                f"the new head finds {figures.known_found:.1%} of the known people held out, the"
                f" one in use {old_found:.1%}; train on more people, write the new head elsewhere"
                " with --out, or replace the one in use with --force"
            )
    card = model_card(
        source, everyone, duplicates, trained, choice_of_recipe, figures.as_json(), encoder_card
    )
    stem = head_stem(traits) if at_home else "head"
    with replacing_home_head(gallery, traits, projection) if at_home else nullcontext():
        files = write_report(out, trained.head, card, trained.history, stem)
    return HeadReport(files, card, duplicates, figures)


def _enrolled(gallery: GalleryLike, traits: Traits) -> tuple[EncodedPeople, dict[str, Any]]:
    """The gallery's own people, and the model card's source."""
    pipeline = gallery.pipeline
    if pipeline.encoder.network.traits.sha256 != traits.sha256:
        raise SettingInvalid(
            f"the gallery's encodings are not from {traits.spec}; give a PEOPLE_FOLDER with one"
            " folder per person to learn from"
        )
    stored = gallery.encodings()
    people = enrolled_people(stored, gallery.faces(), traits.near_identical)
    return people, {
        "folder": "",
        "people": len(people.names),
        "photos": len(people),
        "newest_face_id": int(stored.face_ids.max(initial=0)),
    }


def _encoder_card(traits: Traits) -> dict[str, Any]:
    """What the model card says of an encoder other than dlib's."""
    if traits.name == DLIB_TRAITS.name:
        return {}
    return {
        "spec": traits.spec,
        "network_sha256": traits.sha256,
        "dimension": traits.dimension,
        "licence_code": traits.licence_code,
        "licence_weights": traits.licence_weights,
    }


def _project(
    people: EncodedPeople, encoder: Encoder, kept: Projection | None, seed: int
) -> tuple[EncodedPeople, Projection | None, dict[str, Any]]:
    """The people with 128 numbers each, the projection, and what the model card says of it.

    people : as the network encodes them, (n, d).  kept : the projection to go on with.
    """
    traits = encoder.network.traits
    if traits.dimension <= DIMENSION:
        probes, enrolled = map(encoder.to_stored, (people.probes, people.enrolled))
        return replace(people, probes=probes, enrolled=enrolled), None, {}
    if kept is not None:
        return projected(people, kept), kept, {"projection": {"kept": kept.sha256}}
    fitted = people.for_people(halves(people, seed)[0])  # the others calibrate the head
    chosen = choose_projection(fitted, traits.sha256, seed)
    shares = {kind: round(share, 4) for kind, share in chosen.found_by_kind.items()}
    choice = {"kind": chosen.kind, "known_found_by_cosine_at_fpir_0.01": shares}
    return projected(people, chosen.projection), chosen.projection, {"projection": choice}
