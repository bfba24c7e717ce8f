"""`identities`: who is in the gallery, and changing that."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import count, emit, say
from gallery.cli.output import show as show_table
from gallery.errors import SettingInvalid
from gallery.wire import face_record_json, identity_json, merge_json

identities = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(
    identities,
    name="identities",
    help="List, show, rename, describe, merge, unmerge, tell apart, forget.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, or an id.", show_default=False)]


@identities.command("list")
def list_all(context: typer.Context, as_json: JsonOption = False) -> None:
    """Everyone who is enrolled.

    Example: `gallery identities list`
    """
    with open_gallery(context) as gallery:
        records = gallery.identities()
    if as_json:
        for record in records:
            emit(identity_json(record))
        return
    table = Table("id", "name", "faces", "external id", "since", box=None)
    for record in records:
        since = f"{record.created_at:%Y-%m-%d}"
        table.add_row(
            str(record.id),
            escape(record.name),
            str(record.faces),
            escape(record.external_id or ""),
            since,
        )
    show_table(table)
    say(f"{len(records)} identities", "dim")


@identities.command()
def show(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """One identity and its enrolled faces.

    Example: `gallery identities show "Grace Hopper"`
    """
    with open_gallery(context) as gallery:
        record, faces = gallery.identity(name)
    if as_json:
        emit({**identity_json(record), "enrolled": [face_record_json(face) for face in faces]})
        return
    say(f"{record.name} (id {record.id}), {record.faces} faces", "bold")
    if record.external_id:
        say(f"    external id: {record.external_id}")
    for key, value in record.details.items():
        say(f"    {key}: {value}")
    for face in faces:
        box = ", ".join(f"{v:.0f}" for v in face.box.as_list())
        say(f"    face {face.id}: {face.photo} at {box}, sharpness {face.sharpness:.0f}")


@identities.command()
def rename(
    context: typer.Context,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Give an identity another name.

    Example: `gallery identities rename "G. Hopper" "Grace Hopper"`
    """
    with open_gallery(context) as gallery:
        record = gallery.rename(name, new_name)
    emit(identity_json(record)) if as_json else say(f"{name} is called {record.name} now")


@identities.command()
def describe(
    context: typer.Context,
    name: Name,
    external_id: Annotated[
        str | None, typer.Option(help="Your own id of this person; empty removes it.")
    ] = None,
    detail: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, any number; KEY= removes it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Keep your own id and free details with an identity.

    Example: `gallery identities describe "Grace Hopper" --external-id 1906 --detail rank=admiral`
    """
    pairs = [item.partition("=") for item in detail or ()]
    for (key, equals, _), item in zip(pairs, detail or (), strict=True):
        if not key or not equals:
            raise SettingInvalid(f"--detail {item!r} is not KEY=VALUE")
    with open_gallery(context) as gallery:
        details = {key: value for key, _, value in pairs}
        record = gallery.describe(name, external_id=external_id, details=details)
    emit(identity_json(record)) if as_json else say(f"{record.name} is described")


@identities.command()
def merge(
    context: typer.Context,
    keep: Annotated[str, typer.Argument(metavar="KEEP", show_default=False)],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give the faces of others to one identity, and drop the others' names.

    Example: `gallery identities merge "Grace Hopper" "G. Hopper"`
    """
    with open_gallery(context) as gallery:
        if not yes:
            typer.confirm(f"Merge {', '.join(others)} into {keep}?", abort=True, err=True)
        merged = gallery.merge(keep, others)
    record = merged.identity
    if as_json:
        emit(identity_json(record) | {"merge_id": merged.merge_id})
    else:
        say(
            f"{record.name} has {count(record.faces, 'face')} now;"
            f" `gallery identities unmerge {merged.merge_id}` takes it back"
        )


@identities.command()
def unmerge(
    context: typer.Context,
    merge_id: Annotated[
        int | None,
        typer.Argument(
            metavar="[MERGE_ID]", help="As `merge` said it; without, list all.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take a merge back. Faces enrolled since then stay with the one that was kept.

    Example: `gallery identities unmerge 3`
    """
    with open_gallery(context) as gallery:
        if merge_id is not None:
            records = gallery.undo_merge(merge_id)
        merges = gallery.merges()
        names = {record.id: record.name for record in gallery.identities()}
    if merge_id is not None:
        for record in records:
            if as_json:
                emit(identity_json(record))
            else:
                say(f"{record.name} has {count(record.faces, 'face')} again")
        return
    for made in merges:
        if as_json:
            emit(merge_json(made))
        else:
            kept = names.get(made.kept_id, "someone merged since")
            gone = ", ".join(str(other) for other in made.others)
            say(f"{made.id}: id {gone} into {kept}, {made.created_at:%Y-%m-%d %H:%M}")


@identities.command()
def distinct(
    context: typer.Context,
    name: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER", show_default=False)],
    undo: Annotated[bool, typer.Option("--undo", help="Take that back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say that two identities are two people, so that `dedupe` does not name them again.

    Example: `gallery identities distinct "Grace Hopper" "Grace Kelly"`
    """
    with open_gallery(context) as gallery:
        gallery.keep_distinct(name, other, distinct=not undo)
    if as_json:
        emit({"identities": [name, other], "distinct": not undo})
    else:
        say(f"{name} and {other} are {'compared again' if undo else 'two people'}")


@identities.command()
def forget(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a person and all their faces. There is no undo.

    Example: `gallery identities forget "Grace Hopper"`
    """
    with open_gallery(context) as gallery:
        record, _ = gallery.identity(name)
        if not yes:
            typer.confirm(
                f"Erase {record.name} and {record.faces} faces? There is no undo.",
                abort=True,
                err=True,
            )
        gone = gallery.forget(record.id)
    if as_json:
        emit({"id": gone.identity_id, "faces": gone.faces})
    else:
        say(f"erased: {gone.faces} faces, the name, and their bytes on the disk")
