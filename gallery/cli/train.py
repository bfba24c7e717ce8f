"""`train-head`: learn the decision from a folder of people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from filelock import FileLock, Timeout

from gallery.cli.app import ENCODER_HELP, WEIGHTS_HELP, JsonOption, app, open_beside
from gallery.cli.evaluate import encoded
from gallery.cli.output import count, emit, percent, progress, say
from gallery.errors import DatabaseBusy, EncoderChanged, HeadUnusable, SettingInvalid
from gallery.runtime import REENCODE_LOCK
from gallery.types import DIMENSION

if TYPE_CHECKING:
    from gallery.encoders.projection import Projection
    from gallery.encoders.protocol import Traits
    from gallery.gallery import Gallery
    from gallery.training.encode import EncodedPeople
    from gallery.vision.pipeline import FacePipeline


@app.command("train-head")
def train_head(
    context: typer.Context,
    people_folder: Annotated[
        Path | None, typer.Argument(metavar="[PEOPLE_FOLDER]", show_default=False)
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help=f"{ENCODER_HELP} Default: the gallery's own.", show_default=False),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help=WEIGHTS_HELP, show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for head, card and plot; default: the gallery's home, used at once."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Passes over the pairs, instead of 15.")
    ] = None,
    all_people: Annotated[
        bool, typer.Option("--all-people", help="Learn from a split.csv's test people as well.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from so many of the people, drawn at random."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the head in use even by a worse one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the pairwise head on a folder of people, one folder a person, or on the gallery.

    Half of the people are learned from, the head is calibrated on the other half. When the folder
    has a split.csv (columns person and split) in it or beside it, only its train people are used.
    Writes head.safetensors, its model card head.json and a plot. A head in use that finds more of
    the people it is measured on is not replaced. With --encoder it is another encoder's head, and
    with it that encoder's projection to 128 numbers, if it gives more; one that is at home already
    stays, so that heads can be compared, unless --force is given and nothing is enrolled with it.

    Examples: `gallery train-head people/ --out my-head/`,
    `gallery train-head --encoder onnx:model.onnx people/`
    """
    from gallery.encoders.encoder import encoder_sha256
    from gallery.errors import HeadWorse
    from gallery.evaluation.identification import found_share, hard_pairs_auc
    from gallery.factory import build_pipeline
    from gallery.matching.head_files import home_stem
    from gallery.training.calibrate import train_head
    from gallery.training.cleaning import without_conflicts
    from gallery.training.dataset import people_in
    from gallery.training.encode import enrolled_people, near_identical_of
    from gallery.training.model_card import model_card, source_of, write_report
    from gallery.training.train import Recipe

    gallery, spec = open_beside(context, encoder, weights)
    with gallery:
        settings = gallery.settings
        out = settings.home if out is None else out
        at_home = out.resolve() == settings.home.resolve()
        eye = build_pipeline(settings, spec or gallery.spec, native=True)
        traits = eye.encoder.network.traits
        source: dict[str, Any]
        if people_folder is None:
            if gallery.pipeline.encoder.network.traits.sha256 != traits.sha256:
                raise SettingInvalid(
                    f"the gallery's encodings are not of {traits.spec}; name a PEOPLE_FOLDER, a"
                    " folder for each person, to learn from"
                )
            stored = gallery.encodings()
            near = near_identical_of(gallery.pipeline)
            everyone = enrolled_people(stored, gallery.faces(), near)
            source = {
                "folder": "",
                "people": len(everyone.names),
                "photos": len(everyone),
                "newest_face_id": int(stored.face_ids.max(initial=0)),
            }
        else:
            folder = people_in(people_folder, None if all_people else "train")
            if limit is not None:
                folder = folder.some(limit, seed)
            everyone, source = encoded(gallery, folder, eye, native=True), source_of(folder)
        people, conflicts = without_conflicts(everyone)
        with progress("projection") as advance:
            advance(0, 1)
            if people_folder is None:
                kept: Projection | None = gallery.pipeline.encoder.projection
            else:
                kept = _kept(gallery, traits, at_home=at_home, force=force)
            people, projection, how = _projected(eye, people, people_folder is None, kept, seed)
        recipe = Recipe(seed=seed)
        recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
        with progress("training") as advance:
            name = traits.name, encoder_sha256(traits.sha256, projection)
            trained = train_head(people, recipe, name, advance)
        trained = replace(trained, head=trained.head.with_projection(projection))
        rate = settings.false_positive_identification_rate
        measured = partial(found_share, people=trained.held_out, rate=rate, seed=seed)
        new = measured(trained.head)
        figures: dict[str, float] = {
            "galleries_of": len(set(trained.held_out.people.tolist())) // 2
        }
        figures |= {f"found_at_fpir_{rate:g}": round(new, 4)}
        head_auc, distance_auc = hard_pairs_auc(trained.head, trained.held_out, seed=seed)
        figures |= {
            "hard_pairs_roc_auc": round(head_auc, 4),
            "hard_pairs_roc_auc_of_a_distance": round(distance_auc, 4),
        }
        if at_home:
            old = _at_home(gallery, traits, name)
            if old is not None and (found := measured(old)) > new and not force:
                raise HeadWorse(
                    f"the new head finds {new:.1%} of known people held out, the one in use"
                    f" {found:.1%}; train on more people, write it elsewhere with --out, or replace"
                    " it with --force"
                )
        card = model_card(source, everyone, conflicts, trained, recipe, figures, how)
        stem = home_stem(traits) if at_home else "head"
        with _unneeded(gallery, traits, projection) if at_home else contextlib.nullcontext():
            files = write_report(out, trained.head, card, trained.history, stem)
    if as_json:
        emit({"files": [str(f) for f in files], "card": card})
        return
    for first, second in conflicts.two_names:
        say(f"left out: {first} and {second} are one picture under two names", "yellow")
    if conflicts.copies:
        say(f"left out: {count(len(conflicts.copies), 'copy', 'copies')} of photos", "yellow")
    if "projection" in how:
        say(_said(how["projection"], traits.dimension))
    say(
        f"area under the ROC curve, hard pairs of people held out: {head_auc:.4f}; of a distance"
        f" {distance_auc:.4f}"
    )
    say(
        f"in galleries of {figures['galleries_of']} of them: {percent(new)} of the known are found"
        f" while {rate:.1%} of strangers get a name"
    )
    for file in files:
        say(f"wrote {file}", "green")


def _kept(gallery: Gallery, traits: Traits, *, at_home: bool, force: bool) -> Projection | None:
    """The projection that the new head is to be for, if there is one.

    What encodings of the gallery were made with stays in any case. That of a head at home, which
    would be replaced, stays as well, so that the two heads can be compared.
    """
    from gallery.matching.head_files import projections

    used = gallery.projection_in_use(traits)
    if used is not None or not at_home or force:
        return used
    return next(iter(projections(gallery.settings.model_copy(update={"head": None}), traits)), None)


@contextlib.contextmanager
def _unneeded(gallery: Gallery, traits: Traits, projection: Projection | None) -> Iterator[None]:
    """While this lasts, a head with this projection may be written over the home's.

    Raises EncoderChanged when encodings of the gallery need another one by now, and DatabaseBusy
    when it is being re-encoded, so that they may soon.
    """
    if traits.dimension <= DIMENSION:
        yield
        return
    settings = gallery.settings
    elsewhere = "or write this one elsewhere with --out"
    lock = FileLock(settings.home / REENCODE_LOCK, timeout=settings.busy_timeout, mode=0o600)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise DatabaseBusy(
            f"{settings.home} is being re-encoded by another process, which may need the head that"
            f" is there; wait for it, {elsewhere}"
        ) from error
    with held, gallery.database.writing():  # nobody enrols meanwhile
        used = gallery.projection_in_use(traits)
        if used is not None and (projection is None or used.sha256 != projection.sha256):
            raise EncoderChanged(
                f"encodings of {settings.home} were made with another projection of {traits.spec}"
                f" meanwhile, and would be lost with it; train again, which keeps it, {elsewhere}"
            )
        yield


def _projected(
    eye: FacePipeline, people: EncodedPeople, stored: bool, kept: Projection | None, seed: int
) -> tuple[EncodedPeople, Projection | None, dict[str, Any]]:
    """The people with 128 numbers each, the projection that made them, and what the card says.

    stored : they are the gallery's, and projected already.  kept : the projection to go on with.
    """
    from gallery.training.projection import choose_projection, projected
    from gallery.training.train import halves

    encoder = eye.encoder
    traits = encoder.network.traits
    how: dict[str, Any] = {}
    if traits.name != "dlib-resnet":
        how = {
            "spec": traits.spec,
            "network_sha256": traits.sha256,
            "dimension": traits.dimension,
            "licence_code": traits.licence_code,
            "licence_weights": traits.licence_weights,
        }
    if stored:
        return people, kept, how
    if traits.dimension <= DIMENSION:
        plain = replace(
            people,
            probes=encoder.stored(people.probes),
            enrolled=encoder.stored(people.enrolled),
        )
        return plain, None, how
    if kept is not None:
        return projected(people, kept), kept, {**how, "projection": {"kept": kept.sha256}}
    fitted = people.of(halves(people, seed)[0])  # the others calibrate the head
    chosen = choose_projection(fitted, traits.sha256, seed)
    how["projection"] = {
        "kind": chosen.kind,
        "known_found_by_cosine_at_fpir_0.01": {k: round(v, 4) for k, v in chosen.found.items()},
    }
    return projected(people, chosen.projection), chosen.projection, how


def _at_home(gallery: Gallery, traits: Traits, name: tuple[str, str]) -> Any:
    """The head that the new one would stand in for, if it is for this encoder and projection."""
    from gallery.matching.head import load_head
    from gallery.matching.head_files import head_at_home

    try:
        return load_head(head_at_home(gallery.settings, traits), *name, traits.spec)
    except HeadUnusable:
        return None


def _said(projection: dict[str, Any], dimension: int) -> str:
    if "kept" in projection:
        return (
            f"the projection of {dimension} numbers to 128 stays, so that what it made stays"
            " comparable"
        )
    shares = ", ".join(
        f"{kind} {percent(share)}"
        for kind, share in projection["known_found_by_cosine_at_fpir_0.01"].items()
    )
    return (
        f"{dimension} numbers to 128: {projection['kind']}; known people found by cosine at 1 % of"
        f" strangers, on people not learned from: {shares}"
    )
