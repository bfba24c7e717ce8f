"""`check`: the health of a gallery, and a search for traces of a person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from gallery.cli.app import JsonOption, app
from gallery.cli.exit_status import ERROR, FOUND, NONE
from gallery.cli.opening import open_gallery
from gallery.cli.output import count, emit, out, progress, say
from gallery.errors import SettingInvalid
from gallery.names import printable

if TYPE_CHECKING:
    from gallery.admin.check import Finding
    from gallery.erasure.report import TraceReport


@app.command()
def check(
    context: typer.Context,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="First repair what can be repaired: the index, file permissions, unfinished writes"
            " and erasures. No identity or face is deleted.",
        ),
    ] = False,
    traces: Annotated[
        str | None,
        typer.Option(
            metavar="WHO",
            help="Instead: search the gallery's files for traces of a person, by id or name.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photo",
            help="With --traces, for an erased person: also search for the encodings of the faces"
            " in this photo. Repeat it for several.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the gallery, its index, head, weights and their licences.

    Exit status: 0 no problems, 2 problems. With --traces: 0 no traces, 1 traces.

    Example: `gallery check`, or after an erasure `gallery check --traces 7 --photo hers.jpg`
    """
    if photos and traces is None:
        raise SettingInvalid("--photo needs --traces WHO")
    if repair and traces is not None:
        raise SettingInvalid("give either --repair or --traces")
    if traces is not None:
        with open_gallery(context) as gallery:
            report = gallery.traces(traces, photos or ())
        _show_traces(report, as_json)
        raise typer.Exit(FOUND if report.clean else NONE)
    with open_gallery(context) as gallery, progress("checking") as bar:
        findings = gallery.check(repair=repair, progress=bar.step)
    for finding in findings:
        if as_json:
            emit({"part": finding.part, "ok": finding.ok, "said": finding.message})
        else:
            out.print(
                _mark(finding), f"[bold]{finding.part}[/]:", escape(printable(finding.message))
            )
    raise typer.Exit(FOUND if all(finding.ok for finding in findings) else ERROR)


def _mark(finding: Finding) -> str:
    if not finding.ok:
        return "[bold red]BAD [/]"
    return "[yellow]note[/]" if finding.is_note else "[green]ok  [/]"


def _show_traces(report: TraceReport, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "in_gallery": report.is_enrolled,
                "clean": report.clean,
                "said": list(report.lines),
                "files": report.files,
                "bytes": report.bytes,
                "traces": [
                    {"file": str(hit.file), "kind": hit.trace.kind.value, "at": hit.at}
                    for hit in report.hits
                ],
            }
        )
        return
    for line in report.lines:
        say(line)
    hits = Counter((str(hit.file), hit.trace.kind.value) for hit in report.hits)
    for (file, kind), number in hits.items():
        say(f"    {file}: {count(number, 'trace')} of {kind}", "yellow")
    if report.clean:
        say("no traces found", "green")
