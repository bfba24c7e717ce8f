"""`enroll-identity`: enrol people from photos."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from gallery.cli.app import JsonOption, LargestOption, NewOption, TakenOption, app, several
from gallery.cli.exit_status import ERROR, FOUND, NONE
from gallery.cli.left_out import say_left_out
from gallery.cli.opening import advise_on_encoder, open_gallery
from gallery.cli.output import count, emit, note, on_one_line, progress, say, with_options
from gallery.enrolment.people import check_root
from gallery.errors import NameAmbiguous, SettingInvalid
from gallery.gallery import Gallery
from gallery.json_forms.to_json import enrolment_json
from gallery.names import checked_name
from gallery.types import Enrolment, EnrolOutcome, Refusal, Several
from gallery.vision.folder import LeftOut

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
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse faces that make poor examples of the person."),
    ] = False,
    taken: TakenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a person from photos with exactly one face each.

    Exit status: 0 all photos enrolled (or already enrolled), 1 some refused, 2 an error.

    Example: `gallery enroll-identity "Grace Hopper" grace1.jpg grace2.jpg`
    """
    if from_folder is not None:
        if name is not None or photos:
            raise SettingInvalid("give either NAME and photos, or --from-folder DIR")
        check_root(from_folder)  # a mistyped folder makes no gallery
    report = _Report(as_json)
    with open_gallery(context) as gallery:
        advise_on_encoder(gallery)
        options: _Options = {
            "several": several(largest),
            "force": force,
            "distinct": distinct,
            "new": new,
            "strict": strict,
            "taken": taken,
        }
        if from_folder is None:
            named, files = _named(name, photos)
            with progress("enrolling") as advance:
                for done, photo in enumerate(files, start=1):
                    report.add(_enrol(gallery, named, photo, options))
                    advance(done, len(files))
        else:
            with progress("reading photos") as bar:
                for enrolment in gallery.enroll_folder(
                    from_folder, **options, progress=bar.step, left_out=report.left_out
                ):
                    report.add(enrolment)
    report.close(from_folder)
    raise typer.Exit(report.status)


class _Options(TypedDict):
    """What Gallery.enroll and enroll_folder are asked alike."""

    several: Several
    force: bool
    distinct: bool
    new: bool
    strict: bool
    taken: str | None


def _enrol(gallery: Gallery, name: str, photo: Path, options: _Options) -> Enrolment:
    from gallery.enrolment.enroller import refused_for_name

    try:
        return gallery.enroll(name, photo, **options)
    except NameAmbiguous as error:
        return refused_for_name(str(photo), error)


def _named(name: str | None, photos: list[Path] | None) -> tuple[str, list[Path]]:
    if name is None or not photos:
        raise SettingInvalid("give a NAME and at least one photo, or --from-folder DIR")
    return checked_name(name), photos


_REMEDIES = {
    Refusal.SEVERAL_FACES: "--largest enrols the largest of several faces.",
    Refusal.POOR_PHOTO: "Without --strict such a face is enrolled, with a warning.",
    Refusal.NAME_AMBIGUOUS: "--new enrols another person of such a name.",
    Refusal.MATCHES_ANOTHER: "--distinct enrols a face that matches somebody else's, and marks the"
    " two as different people; --force only enrols it.",
    Refusal.MISFILED: "--force enrols a photo that looks like someone else.",
    Refusal.FORGOTTEN: "--force enrols a photo that was erased before.",
}
_REFUSED = {
    Refusal.NO_FACE: "no face",
    Refusal.SEVERAL_FACES: "several faces",
    Refusal.POOR_PHOTO: "poor examples of the person",
    Refusal.NAME_AMBIGUOUS: "the name may be several people's",
    Refusal.MATCHES_ANOTHER: "matches another identity",
    Refusal.MISFILED: "looks like someone else",
    Refusal.FORGOTTEN: "erased before",
}


class _Report:
    """Prints each outcome, and at the end what was not enrolled, and why."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._enrolments: list[Enrolment] = []
        self._noted: set[str] = set()
        self.left_out: list[LeftOut] = []

    @property
    def status(self) -> int:
        """The exit status: of the worst outcome."""
        outcomes = {enrolment.outcome for enrolment in self._enrolments}
        if EnrolOutcome.ERROR in outcomes:
            return ERROR
        return NONE if EnrolOutcome.REFUSED in outcomes else FOUND

    def add(self, enrolment: Enrolment) -> None:
        self._enrolments.append(enrolment)
        for text in enrolment.notes:
            if text not in self._noted:
                note(text)
        self._noted.update(enrolment.notes)
        if self._as_json:
            emit(enrolment_json(enrolment))
            return
        reason = enrolment.reason.replace("(100%, by ", "(99.9%, by ")  # never certain
        if enrolment.unlike:
            number = enrolment.face_id
            reason += (
                f" (`gallery faces move {number} NAME` moves it, `gallery faces forget {number}`"
                " erases it)"
            )
        style = _STYLES[enrolment.outcome]
        say(f"{enrolment.outcome}  {on_one_line(enrolment.photo)}: {with_options(reason)}", style)

    def close(self, root: Path | None) -> None:
        """root : the folder of people, if one was enrolled: then what was not is named again."""
        if self._as_json:
            say_left_out(self.left_out, as_json=True)
            return
        if root is not None:
            for refusal, title in _REFUSED.items():
                self._say_again(
                    f"refused, {title}", [e for e in self._enrolments if e.refusal is refusal]
                )
            errors = [e for e in self._enrolments if e.outcome is EnrolOutcome.ERROR]
            self._say_again("could not be used", errors)
            say_left_out(self.left_out)
            self._say_missing(root)
        if root is not None or len(self._enrolments) > 1:
            say(_summary(self._enrolments), "bold")
        refusals = {enrolment.refusal for enrolment in self._enrolments}
        remedies = [text for refusal, text in _REMEDIES.items() if refusal in refusals]
        if remedies:
            say(" ".join(remedies), "dim")

    def _say_missing(self, root: Path) -> None:
        """Name the people without any enrolled photo."""
        people: dict[str, bool] = {}
        for enrolment in self._enrolments:
            parts = Path(enrolment.photo).relative_to(root).parts
            if len(parts) > 1:  # else it is a folder that could not be used
                is_stored = enrolment.outcome in (EnrolOutcome.ENROLLED, EnrolOutcome.ALREADY)
                people[parts[0]] = people.get(parts[0], False) or is_stored
        missing = [on_one_line(name) for name, has_any in people.items() if not has_any]
        if missing:
            say(f"without any enrolled photo: {', '.join(missing)}", "yellow")

    @staticmethod
    def _say_again(title: str, enrolments: list[Enrolment]) -> None:
        if enrolments:
            say(f"{title}: {len(enrolments)}", "yellow")
            for enrolment in enrolments:
                say(f"    {on_one_line(enrolment.photo)}", "yellow")


def _summary(enrolments: list[Enrolment]) -> str:
    nouns = {
        EnrolOutcome.ALREADY: ("already enrolled",) * 2,
        EnrolOutcome.ERROR: ("error", "errors"),
    }
    counts = Counter(enrolment.outcome for enrolment in enrolments)
    parts = [
        count(counts[outcome], *nouns.get(outcome, (outcome, outcome)))
        for outcome in EnrolOutcome
        if counts[outcome]
    ]
    return ", ".join(parts)
