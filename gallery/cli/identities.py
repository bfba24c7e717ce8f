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
from gallery.json_forms.to_json import face_record_json, identity_json, merge_json, receipt_json
from gallery.store.records import Receipt

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
    if record.expires_at is not None:
        say(f"    to be erased from {record.expires_at:%Y-%m-%d %H:%M} UTC on")
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
    expires: Annotated[
        str | None,
        typer.Option(
            help="Erase the person from then on: 2027-01-31, a time, or 90d; empty: never."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Keep your own id and free details with an identity, and when it is to be erased.

    Example: `gallery identities describe "Grace Hopper" --external-id 1906 --detail rank=admiral`
    """
    pairs = [item.partition("=") for item in detail or ()]
    for (key, equals, _), item in zip(pairs, detail or (), strict=True):
        if not key or not equals:
            raise SettingInvalid(f"--detail {item!r} is not KEY=VALUE")
    with open_gallery(context) as gallery:
        details = {key: value for key, _, value in pairs}
        record = gallery.describe(name, external_id=external_id, details=details, expires=expires)
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

    When it ends, no file of the gallery and of its cache holds a trace; the receipt says so.

    Example: `gallery identities forget "Grace Hopper"`
    """
    with open_gallery(context) as gallery:
        record, _ = gallery.identity(name)
        if not yes:
            typer.confirm(
                f"Erase {record.name} and {count(record.faces, 'face')}? There is no undo.",
                abort=True,
                err=True,
            )
        receipt = gallery.forget(record.id)
    show_receipt(receipt, as_json)


def show_receipt(receipt: Receipt, as_json: bool) -> None:
    """What was erased, and what is still elsewhere."""
    if as_json:
        emit(receipt_json(receipt))
        return
    what = "the name, " if receipt.whole else ""
    say(
        f"erased: {what}{count(receipt.faces, 'face')} of id {receipt.identity_id}; no trace in"
        f" {count(receipt.searched_files, 'file')} of the gallery and its cache"
    )
    for learned in receipt.learned:
        say(f"    {learned}", "yellow")
    for backup in receipt.backups:
        made = f"{backup.created_at:%Y-%m-%d %H:%M}"
        holds = "holds it still" if backup.made else "was begun, and if there is a file holds it"
        say(f"    backup {backup.id} of {made} UTC {holds}: delete that file", "yellow")
    if receipt.backups:
        numbers = " ".join(f"--forget {one}" for one in (receipt.identity_id, *receipt.also))
        say(f"    or restore it with {numbers}", "yellow")
    if receipt.too_plain:
        said = count(receipt.too_plain, "text")
        say(f"    not searched for, being too short or a mere number: {said}", "dim")
    say(f"    receipt {receipt.id}", "dim")


faces = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(faces, name="faces", help="Erase single faces, or put them under another name.")


@faces.command("forget")
def forget_faces(
    context: typer.Context,
    face_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[FACE_ID]...", show_default=False)
    ] = None,
    photo: Annotated[
        str | None,
        typer.Option(
            help="Every face that was enrolled from this photo: a file, or a file's SHA-256.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase single faces of people who have others. There is no undo.

    `gallery identities show NAME` tells a face's number.

    Example: `gallery faces forget 12`, or `gallery faces forget --photo party.jpg`
    """
    if bool(face_ids) == (photo is not None):
        raise SettingInvalid("give face numbers, or --photo PHOTO, and not both")
    with open_gallery(context) as gallery:
        ids = list(face_ids or ()) if photo is None else gallery.faces_from(photo)
        if not yes:
            named = ", ".join(map(str, ids))
            typer.confirm(
                f"Erase {count(len(ids), 'face')} ({named})? There is no undo.",
                abort=True,
                err=True,
            )
        receipts = gallery.forget_faces(ids)
    for receipt in receipts:
        show_receipt(receipt, as_json)


@faces.command("move")
def move_face(
    context: typer.Context,
    face_id: Annotated[int, typer.Argument(metavar="FACE_ID", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Put a face under another person's name. Moving it back undoes it.

    `gallery identities show NAME` tells a face's number.

    Example: `gallery faces move 12 "Grace Hopper"`
    """
    with open_gallery(context) as gallery:
        record = gallery.move_face(face_id, name)
    if as_json:
        emit({"face_id": face_id, "identity": record.name})
    else:
        say(f"face {face_id} is {record.name} now")


@app.command()
def expire(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say who is due.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase everyone whose expiry has come, without asking; there is no undo.

    `gallery identities describe NAME --expires 2027-01-31` sets it; `gallery serve` does this by
    itself.

    Example: `gallery expire`
    """
    with open_gallery(context) as gallery:
        due = gallery.expired() if dry_run else []
        receipts = [] if dry_run else gallery.expire()
    for record in due:
        said = f"{record.name} (id {record.id}) is due"
        emit(identity_json(record)) if as_json else say(said)
    for receipt in receipts:
        show_receipt(receipt, as_json)
    if not as_json and not due and not receipts:
        say("nobody is due", "dim")
