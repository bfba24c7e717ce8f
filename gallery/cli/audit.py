"""`audit`: who did what to the gallery."""

from __future__ import annotations

from typing import Annotated

import typer

from gallery.cli.app import JsonOption, app
from gallery.cli.exit_status import ERROR, FOUND
from gallery.cli.opening import open_existing
from gallery.cli.output import complain, count, emit, say
from gallery.json_forms.to_json import audit_json
from gallery.store import audit as trail


@app.command()
def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Show this many of the newest entries.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the audit trail: enrolments, HTTP queries (outcome only), changes and erasures.

    People appear by id only. Each entry is chained to the one before. Save the last line somewhere
    else from time to time: it proves later whether the end was cut off. Exit status: 0 the chain is
    intact, 2 it is not.

    Example: `gallery audit --limit 10`
    """
    with open_existing(context) as gallery, gallery.database.reading() as session:
        entries, problems = trail.entries(session, limit), trail.problems(session)
        total = trail.count(session)
    for entry in entries:
        if as_json:
            emit(audit_json(entry))
            continue
        identity = "" if entry.identity_id is None else f" id {entry.identity_id}"
        outcome = "" if entry.outcome is None else f": {entry.outcome}"
        say(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.actor}  {entry.action}{identity}{outcome}")
    for problem in problems:
        complain(f"the audit trail was tampered with: {problem}")
    if not as_json and entries and not problems:
        stored = count(total, "entry", "entries")
        say(f"{stored}, intact; entry {entries[-1].id} is {entries[-1].digest}", "dim")
    raise typer.Exit(ERROR if problems else FOUND)
