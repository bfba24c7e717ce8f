"""`keys` and `audit`: who may ask over HTTP, and who did what."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import ERROR, FOUND, complain, emit, say
from gallery.cli.output import show as show_table
from gallery.json_forms.to_json import audit_json, key_json
from gallery.store import api_keys as store
from gallery.store import audit as trail
from gallery.store.api_keys import Scope

keys = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(keys, name="keys", help="Create, list, revoke and reset keys to the HTTP API.")


@keys.command()
def create(
    context: typer.Context,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="Whose it is.", show_default=False)],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="query: ask and compare; enrol: see and change people as well; metrics:"
            " /metrics; admin: everything. Repeat it for several; query when not given.",
            show_default=False,
        ),
    ] = None,
    per_minute: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Requests it may make a minute.")
    ] = 600,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it once; the gallery keeps only its hash.

    From the first key on `gallery serve` answers nobody without one.

    Example: `gallery keys create "front desk" --scope query --scope enrol`
    """
    with open_gallery(context) as gallery, gallery.database.writing() as session:
        key, secret = store.create(session, label, scope or [Scope.QUERY], per_minute)
        trail.record(session, "create key", outcome=key.id)
    if as_json:
        emit(key_json(key) | {"key": secret})
    else:
        say(f"{key.label} ({', '.join(key.scopes)}, id {key.id}); it is not shown again:")
        typer.echo(secret)


@keys.command("list")
def list_keys(context: typer.Context, as_json: JsonOption = False) -> None:
    """Every key, revoked ones too, without its secret.

    Example: `gallery keys list`
    """
    with open_gallery(context) as gallery, gallery.database.reading() as session:
        found = store.list_all(session)
    if as_json:
        for key in found:
            emit(key_json(key))
        return
    table = Table("id", "label", "scopes", "a minute", "since", "revoked", box=None)
    for key in found:
        revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d}"
        since = f"{key.created_at:%Y-%m-%d}"
        scopes = ", ".join(key.scopes)
        table.add_row(key.id, escape(key.label), scopes, str(key.per_minute), since, revoked)
    show_table(table)
    if not found:
        say("there are no keys: `gallery serve` answers anyone on this machine", "dim")
    elif all(key.revoked_at is not None for key in found):
        say("no key is in force: `gallery serve` answers nobody; see `gallery keys reset`", "dim")


@keys.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Let a key open nothing any more; a running `gallery serve` knows within a second.

    When none is left in force, nobody is answered until you make another, or `keys reset`.

    Example: `gallery keys revoke 1a2b3c4d`
    """
    with open_gallery(context) as gallery, gallery.database.writing() as session:
        key = store.revoke(session, key_id)
        trail.record(session, "revoke key", outcome=key.id)
    emit(key_json(key)) if as_json else say(f"{key.label} ({key.id}) opens nothing any more")


@keys.command()
def reset(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop every key, in force or revoked: `gallery serve` then answers anyone on this machine.

    Example: `gallery keys reset`
    """
    if not yes:
        typer.confirm("Drop every key, and answer anyone on this machine?", abort=True, err=True)
    with open_gallery(context) as gallery, gallery.database.writing() as session:
        dropped = store.drop_all(session)
        trail.record(session, "reset keys")
    emit({"dropped": dropped}) if as_json else say(f"dropped {dropped}; no key is needed any more")


@app.command()
def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many entries.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Who enrolled, asked over HTTP (the outcome alone), changed and erased, by numbers.

    Each entry is chained to the one before. Note the last line elsewhere now and then: it shows
    later whether the end was cut off. Exit status: 0 the chain is whole, 2 it is not.

    Example: `gallery audit --limit 10`
    """
    with open_gallery(context) as gallery, gallery.database.reading() as session:
        entries, problems = trail.entries(session, limit), trail.problems(session)
        count = trail.count(session)
    for entry in entries:
        if as_json:
            emit(audit_json(entry))
            continue
        whom = "" if entry.identity_id is None else f" id {entry.identity_id}"
        outcome = "" if entry.outcome is None else f": {entry.outcome}"
        say(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.actor}  {entry.action}{whom}{outcome}")
    for problem in problems:
        complain(f"the audit trail was tampered with: {problem}")
    if not as_json and entries and not problems:
        say(f"{count} entries, whole; entry {entries[-1].id} is {entries[-1].digest}", "dim")
    raise typer.Exit(ERROR if problems else FOUND)
