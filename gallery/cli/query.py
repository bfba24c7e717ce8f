"""`query` and `compare`: who is this, and are these two the same?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallery.cli.app import JsonOption, LargestOption, app, open_gallery, several
from gallery.cli.output import ERROR, FOUND, NONE, complain, emit, percent, say
from gallery.errors import PhotoError, SettingInvalid
from gallery.gallery import Gallery
from gallery.json_forms.to_json import comparison_json, decision_json, error_json
from gallery.types import Decision, Outcome

_STYLES = {Outcome.MATCH: "green", Outcome.AMBIGUOUS: "yellow"}


@app.command()
def query(
    context: typer.Context,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", show_default=False)],
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Answer for each face of each photo.")
    ] = False,
    largest: LargestOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every candidate and the head's verdict.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Who is this: exactly one person of the gallery, or none?

    Exit status: 0 every photo has a match, 1 some have none, 2 an error.

    Example: `gallery query unknown.jpg`
    """
    if all_faces and largest:
        raise SettingInvalid("--all-faces and --largest exclude each other; give one of them")
    status = FOUND
    with open_gallery(context) as gallery:
        for photo in photos:
            try:
                answers = _ask(gallery, photo, all_faces=all_faces, largest=largest)
            except PhotoError as error:
                status = ERROR
                if as_json:
                    emit(error_json(str(photo), str(error)))
                else:
                    complain(str(error))
                continue
            for answer in answers:
                if as_json:
                    emit(decision_json(str(photo), answer))
                else:
                    _show(photo, answer, explain)
            if not any(a.identity for a in answers):
                status = max(status, NONE)
    raise typer.Exit(status)


def _ask(gallery: Gallery, photo: Path, *, all_faces: bool, largest: bool) -> list[Decision]:
    return (
        gallery.query_all(photo) if all_faces else [gallery.query(photo, several=several(largest))]
    )


def _show(photo: Path, answer: Decision, explain: bool) -> None:
    who = answer.identity.name if answer.identity else answer.outcome.value.replace("_", " ")
    sure = f" ({percent(answer.probability)})" if answer.identity else ""
    place = ""
    if answer.face is not None:
        left, top, right, bottom = (round(v) for v in answer.face.box.as_list())
        place = f" at {left},{top} to {right},{bottom}"
    say(f"{photo}{place}: {who}{sure}; {answer.reason}", _STYLES.get(answer.outcome, ""))
    if explain:
        for candidate in answer.candidates:
            say(
                f"    {candidate.verdict:<9}  {percent(candidate.probability):>6}"
                f"  cosine {candidate.similarity:.3f}  {candidate.identity.name}"
                f"  (face {candidate.face_id}, {candidate.photo})",
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
    """Are two photos of the same person? Prints 1 or 0, and the probability.

    Exit status: 0 the same person, 1 two people, 2 an error.

    Example: `gallery compare one.jpg two.jpg`
    """
    with open_gallery(context) as gallery:
        comparison = gallery.compare(first, second, several=several(largest))
    if as_json:
        emit(comparison_json((str(first), str(second)), comparison))
    else:
        say(
            f"{comparison.same}  {'same person' if comparison.same else 'two people'},"
            f" probability of the same {percent(comparison.probability)},"
            f" cosine {comparison.similarity:.3f}"
        )
    raise typer.Exit(FOUND if comparison.same else NONE)
