"""`enroll-identity`: enrol people from photos."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gallery.cli.app import (
    JsonOption,
    LargestOption,
    NewOption,
    TakenOption,
    advise_on_encoder,
    app,
    open_gallery,
    several,
)
from gallery.cli.exit_status import ERROR, FOUND, NONE
from gallery.cli.output import count, emit, note, progress, say
from gallery.errors import NameAmbiguous, SettingInvalid
from gallery.json_forms.to_json import enrolment_json
from gallery.names import checked_name
from gallery.types import Enrolment, EnrolOutcome, Refusal

_STYLES = {
    EnrolOutcome.ENROLLED: "green",
    EnrolOutcome.ALREADY: "dim",
    EnrolOutcome.REFUSED: "yellow",
    EnrolOutcome.ERROR: "red",
}


@app.command("enroll-identity")
def enroll_identity(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="PHOTO...", show_default=False)
    ] = None,
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from-folder", help="Enrol everyone in a folder that has one subfolder per person."
        ),
    ] = None,
    largest: LargestOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Enrol even if the face matches another identity.")
    ] = False,
    distinct: Annotated[
        bool,
        typer.Option(
            "--distinct", help="As --force, and mark the people who match as different people."
        ),
    ] = False,
    new: NewOption = False,
    taken: TakenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a person from photos with exactly one face each.

    Exit status: 0 all photos enrolled (or already enrolled), 1 some refused, 2 an error.

    Example: `gallery enroll-identity "Grace Hopper" grace1.jpg grace2.jpg`
    """
    with open_gallery(context) as gallery:
        advise_on_encoder(gallery)
        enrol = partial(
            gallery.enroll,
            several=several(largest),
            force=force,
            distinct=distinct,
            new=new,
            taken=taken,
        )
        status = _enroll(_naming(enrol), _jobs(name, photos, from_folder), as_json)
    raise typer.Exit(status)


def _naming(enrol: Callable[[str, Path], Enrolment]) -> Callable[[str, Path], Enrolment]:
    """Say each note once, and let a name that may be several people's refuse only its photos."""
    noted: set[str] = set()

    def enrol_and_note(name: str, photo: Path) -> Enrolment:
        try:
            enrolment = enrol(name, photo)
        except NameAmbiguous as error:
            refused, refusal = EnrolOutcome.REFUSED, Refusal.NAME_AMBIGUOUS
            return Enrolment(str(photo), refused, None, None, str(error), refusal)
        for text in enrolment.notes:
            if text not in noted:
                note(text)
        noted.update(enrolment.notes)
        return enrolment

    return enrol_and_note


def _jobs(
    name: str | None, photos: list[Path] | None, from_folder: Path | None
) -> list[tuple[str, Path]]:
    if from_folder is not None:
        if name is not None or photos:
            raise SettingInvalid("give either NAME and photos, or --from-folder DIR")
        from gallery.training.dataset import people_in

        people = people_in(from_folder).people
        return [(checked_name(person), file) for person, files in people.items() for file in files]
    if name is None or not photos:
        raise SettingInvalid("give a NAME and at least one photo, or --from-folder DIR")
    return [(checked_name(name), photo) for photo in photos]


_REMEDIES = {
    Refusal.SEVERAL_FACES: "--largest enrols the largest of several faces.",
    Refusal.NAME_AMBIGUOUS: "--new enrols another person of such a name.",
    Refusal.MATCHES_ANOTHER: "--distinct enrols a face that matches somebody else's, and marks the"
    " two as different people; --force only enrols it.",
}


def _enroll(
    enrol: Callable[[str, Path], Enrolment], jobs: list[tuple[str, Path]], as_json: bool
) -> int:
    counts = dict.fromkeys(EnrolOutcome, 0)
    refusals: set[Refusal] = set()
    with progress("enrolling") as advance:
        for done, (person, photo) in enumerate(jobs, start=1):
            result = enrol(person, photo)
            counts[result.outcome] += 1
            if result.refusal is not None:
                refusals.add(result.refusal)
            if as_json:
                emit(enrolment_json(result))
            else:
                reason = result.reason.replace("(100%, by ", "(99.9%, by ")  # never certain
                say(f"{result.outcome}  {result.photo}: {reason}", _STYLES[result.outcome])
            advance(done, len(jobs))
    if not as_json and len(jobs) > 1:
        say(_summary(counts), "bold")
    remedies = [text for refusal, text in _REMEDIES.items() if refusal in refusals]
    if not as_json and remedies:
        say(" ".join(remedies), "dim")
    if counts[EnrolOutcome.ERROR]:
        return ERROR
    return NONE if counts[EnrolOutcome.REFUSED] else FOUND


def _summary(counts: dict[EnrolOutcome, int]) -> str:
    nouns = {
        EnrolOutcome.ALREADY: ("already enrolled",) * 2,
        EnrolOutcome.ERROR: ("error", "errors"),
    }
    parts = [
        count(number, *nouns.get(outcome, (outcome, outcome)))
        for outcome, number in counts.items()
        if number
    ]
    return ", ".join(parts)
