"""`query`: who is in a photo. `compare`: whether two photos show the same person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallery.cli.app import JsonOption, LargestOption, TakenOption, app, open_gallery, several
from gallery.cli.exit_status import ERROR, FOUND, NONE
from gallery.cli.output import certainty, complain, count, emit, say
from gallery.errors import PhotoError, SettingInvalid, SeveralFacesFound
from gallery.json_forms.to_json import comparison_json, decision_json, error_json
from gallery.types import Decision, Outcome

_STYLES = {Outcome.MATCH: "green", Outcome.AMBIGUOUS: "yellow"}


@app.command()
def query(
    context: typer.Context,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", show_default=False)],
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Answer for every face in each photo.")
    ] = False,
    largest: LargestOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every candidate and its verdict.")
    ] = False,
    taken: TakenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find who is in a photo: exactly one enrolled person, or none.

    Exit status: 0 every photo has a match, 1 some have none, 2 an error.

    Example: `gallery query unknown.jpg`
    """
    if all_faces and largest:
        raise SettingInvalid("give either --all-faces or --largest")
    status, has_several = FOUND, False
    with open_gallery(context) as gallery:
        for photo in photos:
            try:
                if all_faces:
                    decisions = gallery.query_all(photo, taken=taken)
                else:
                    decisions = [gallery.query(photo, several=several(largest), taken=taken)]
            except PhotoError as error:
                status = ERROR
                if as_json:
                    emit(error_json(str(photo), str(error)))
                else:
                    complain(str(error))
                continue
            has_several |= any(d.outcome is Outcome.SEVERAL_FACES for d in decisions)
            for decision in decisions:
                if as_json:
                    emit(decision_json(str(photo), decision))
                else:
                    _show(photo, decision, explain)
            if not any(decision.identity for decision in decisions):
                status = max(status, NONE)
    if has_several and not as_json:
        say("--all-faces answers for every face, --largest for the largest.", "dim")
    raise typer.Exit(status)


def _show(photo: Path, decision: Decision, explain: bool) -> None:
    if decision.identity is None:
        answer = decision.outcome.value.replace("_", " ")
    else:
        answer = f"{decision.identity.name} ({certainty(decision.probability)})"
    place = ""
    if decision.face is not None:
        left, top, right, bottom = (round(v) for v in decision.face.box.as_list())
        place = f" at {left},{top} to {right},{bottom}"
    say(f"{photo}{place}: {answer}; {decision.reason}", _STYLES.get(decision.outcome, ""))
    if explain:
        for candidate in decision.candidates:
            years = candidate.years_apart
            apart = "" if years is None else f"; nearest date {count(round(years), 'year')} away"
            say(
                f"    {candidate.verdict:<9}  {certainty(candidate.probability):>6}"
                f"  cosine {candidate.similarity:.3f}  {candidate.identity.name}"
                f"  (face {candidate.face_id}, {candidate.photo}){apart}",
                "dim",
            )


@app.command()
def compare(
    context: typer.Context,
    first: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    largest: LargestOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two photos: prints 1 for the same person, 0 for different people.

    Exit status: 0 the same person, 1 different people, 2 an error.

    Example: `gallery compare one.jpg two.jpg`
    """
    with open_gallery(context) as gallery:
        try:
            comparison = gallery.compare(first, second, several=several(largest))
        except SeveralFacesFound as error:
            raise SeveralFacesFound(f"{error} with --largest") from error
    if as_json:
        emit(comparison_json((str(first), str(second)), comparison))
    else:
        say(
            f"{comparison.same}  {'same person' if comparison.same else 'different people'},"
            f" probability {certainty(comparison.probability)},"
            f" cosine {comparison.similarity:.3f}"
        )
    raise typer.Exit(FOUND if comparison.same else NONE)
