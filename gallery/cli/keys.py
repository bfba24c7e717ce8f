"""`keys`: API keys of `gallery serve`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gallery.cli.app import Commands, JsonOption, app
from gallery.cli.opening import open_existing, open_gallery
from gallery.cli.output import count, emit, say, show
from gallery.json_forms.to_json import key_json
from gallery.store import api_keys, audit
from gallery.store.api_keys import Scope

keys = Commands(no_args_is_help=True)
app.add_typer(keys, name="keys", help="Create, list, revoke and reset API keys.")


@keys.command()
def create(
    context: typer.Context,
    label: Annotated[
        str, typer.Argument(metavar="LABEL", help="Who the key is for.", show_default=False)
    ],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="query: query and compare. enrol: also see and change identities. metrics:"
            " /metrics. admin: everything. Repeat it for several. Default: query.",
            show_default=False,
        ),
    ] = None,
    per_minute: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Requests allowed per minute.")
    ] = 600,
    as_json: JsonOption = False,
) -> None:
    """Create a key and print it once. The gallery keeps only its hash.

    As soon as a key exists, `gallery serve` rejects requests without one.

    Example: `gallery keys create "front desk" --scope query --scope enrol`
    """
    with open_gallery(context) as gallery, gallery.database.writing() as session:
        key, secret = api_keys.create(session, label, scope or [Scope.QUERY], per_minute)
        audit.record(session, "create key", outcome=key.id)
    if as_json:
        emit(key_json(key) | {"key": secret})
    else:
        say(f"{key.label} ({', '.join(key.scopes)}, id {key.id}); this key is not shown again:")
        typer.echo(secret)


@keys.command("list")
def list_keys(context: typer.Context, as_json: JsonOption = False) -> None:
    """List every key, including revoked ones, without the secrets.

    Example: `gallery keys list`
    """
    with open_existing(context) as gallery, gallery.database.reading() as session:
        records = api_keys.list_all(session)
    if as_json:
        for key in records:
            emit(key_json(key))
        return
    table = Table("id", "label", "scopes", "per minute", "created", "revoked", box=None)
    for key in records:
        revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d}"
        created = f"{key.created_at:%Y-%m-%d}"
        scopes = ", ".join(key.scopes)
        table.add_row(key.id, escape(key.label), scopes, str(key.per_minute), created, revoked)
    show(table)
    if not records:
        say("there are no keys: `gallery serve` accepts every request from this machine", "dim")
    elif all(key.revoked_at is not None for key in records):
        say(
            "no key is active: `gallery serve` rejects every request; create a key, or see"
            " `gallery keys reset`",
            "dim",
        )


@keys.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Revoke a key. A running `gallery serve` rejects it within a second.

    With no active key left, every request is rejected until you create a key or run `keys reset`.

    Example: `gallery keys revoke 1a2b3c4d`
    """
    with open_existing(context) as gallery, gallery.database.writing() as session:
        key = api_keys.revoke(session, key_id)
        audit.record(session, "revoke key", outcome=key.id)
    emit(key_json(key)) if as_json else say(f"revoked {key.label} ({key.id})")


@keys.command()
def reset(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete every key, active or revoked. `gallery serve` then needs no key on this machine.

    Example: `gallery keys reset`
    """
    if not yes:
        typer.confirm(
            "Delete every key, and accept every request from this machine?", abort=True, err=True
        )
    with open_existing(context) as gallery, gallery.database.writing() as session:
        dropped = api_keys.drop_all(session)
        audit.record(session, "reset keys")
    if as_json:
        emit({"dropped": dropped})
    else:
        say(f"deleted {count(dropped, 'key')}; no key is needed any more")
