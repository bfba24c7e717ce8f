"""`query`: who is in a photo. `compare`: whether two photos show the same person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gallery.cli.app import JsonOption, LargestOption, TakenOption, app, several
from gallery.cli.exit_status import ERROR, FOUND, NONE
from gallery.cli.left_out import say_left_out
from gallery.cli.opening import open_existing, open_gallery
from gallery.cli.output import certainty, complain, count, emit, progress, say
from gallery.errors import PhotoError, SettingInvalid, SeveralFacesFound
from gallery.json_forms.to_json import comparison_json, decision_json, error_json
from gallery.types import Decision, Outcome
from gallery.vision.folder import LeftOut, photos_in, split_unlistable

_STYLES = {Outcome.MATCH: "green", Outcome.AMBIGUOUS: "yellow"}


@app.command()
def query(
    context: typer.Context,
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO...", help="Photos, or folders of photos.", show_default=False
        ),
    ],
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

    Of a folder, every photo in it and in its subfolders is answered, in order of its path. A photo
    that cannot be used does not stop the others.

    To write the answers for every face in a folder to a table, use `gallery export answers.csv
    --queries FOLDER`.

    Exit status: 0 every photo has a match, 1 some have none, 2 some could not be used.

    Examples: `gallery query unknown.jpg`, `gallery query holiday/ --json`
    """
    if all_faces and largest:
        raise SettingInvalid("give either --all-faces or --largest")
    outcomes: Counter[str] = Counter()
    with open_existing(context) as gallery, progress("querying") as advance:
        left_out: list[LeftOut] = []
        files, unusable = _files(photos, left_out)
        for place, reason in unusable:
            _refuse(place, reason, as_json)
        status = ERROR if unusable else FOUND
        answers = gallery.query_many(
            files, several=several(largest), all_faces=all_faces, taken=taken
        )
        for done, (photo, answer) in enumerate(zip(files, answers, strict=True), start=1):
            decisions = answer.decisions
            if answer.error is not None:
                status = ERROR
                _refuse(answer.photo, answer.error, as_json)
            outcomes.update(d.outcome.value.replace("_", " ") for d in decisions)
            outcomes["error"] += answer.error is not None
            if as_json:
                for decision in decisions:
                    emit(decision_json(answer.photo, decision))
            else:
                _show(photo, decisions, explain)
            if decisions and not any(decision.identity for decision in decisions):
                status = max(status, NONE)
            advance(done, len(files))
    say_left_out(left_out, as_json=as_json)
    if len(files) > 1 and not as_json:
        totals = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common() if n)
        say(f"{count(len(files), 'photo')}: {totals}", "bold")
    if outcomes["several faces"] and not as_json:
        say("--all-faces answers for every face, --largest for the largest.", "dim")
    raise typer.Exit(status)


def _files(named: list[Path], left_out: list[LeftOut]) -> tuple[list[Path], list[tuple[str, str]]]:
    """The photos named, those of a folder in its place; and (place, reason) of what has none.

    left_out : receives the files of folders that are not queried.
    """

    files: list[Path] = []
    unusable: list[tuple[str, str]] = []
    for path in named:
        if not path.is_dir():
            files.append(path)
            continue
        others: list[LeftOut] = []
        try:
            found = photos_in(path, others)
        except PhotoError as error:
            unusable.append((str(path), str(error)))
            continue
        unlistable, others = split_unlistable(others)
        unusable += [(str(place), f"{place} {reason}") for place, reason in unlistable]
        left_out += others
        if not found:
            unusable.append((str(path), f"{path} is a folder without photos; name another"))
        files += found
    return files, unusable


def _refuse(photo: str, reason: str, as_json: bool) -> None:
    if as_json:
        emit(error_json(photo, reason))
    else:
        complain(reason)


def _show(photo: Path, decisions: Sequence[Decision], explain: bool) -> None:
    """Print the answers for the faces of one photo, from left to right."""
    ordered = sorted(decisions, key=lambda d: d.face.box.left if d.face is not None else 0.0)
    for number, decision in enumerate(ordered, start=1):
        which = "" if len(ordered) == 1 else f", face {number} of {len(ordered)}"
        _show_decision(f"{photo}{which}", decision, explain)
    if len(ordered) > 1 and ordered[0].photo_fpir is not None:
        say(
            f"{photo}: if all {len(ordered)} were strangers, somebody would be named in about"
            f" {ordered[0].photo_fpir:.1%} of such photos",
            "dim",
        )


def _show_decision(place: str, decision: Decision, explain: bool) -> None:
    if decision.identity is None:
        answer = decision.outcome.value.replace("_", " ")
    else:
        answer = f"{decision.identity.name} ({certainty(decision.probability)})"
    if decision.face is not None:
        # A face may reach beyond the border of its photo.
        left, top, right, bottom = (max(0, round(v)) for v in decision.face.box.as_list())
        place += f" at {left},{top} to {right},{bottom}"
    say(f"{place}: {answer}; {decision.reason}", _STYLES.get(decision.outcome, ""))
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
