"""`identities`: list and change the people in the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gallery.cli.app import Commands, JsonOption, app
from gallery.cli.lookup import identity_meant, is_exact
from gallery.cli.opening import open_existing
from gallery.cli.output import count, emit, saved_plans, say, say_expiry, show_receipt
from gallery.cli.output import show as show_table
from gallery.dates import years_covered
from gallery.errors import SettingInvalid
from gallery.json_forms.to_json import identity_json, identity_with_faces_json, merge_json
from gallery.names import moment
from gallery.store.records import FaceRecord

identities = Commands(no_args_is_help=True)
app.add_typer(
    identities,
    name="identities",
    help="List, show, rename, describe, merge, unmerge, tell apart and forget people.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, or an id.", show_default=False)]


@identities.command("list")
def list_all(
    context: typer.Context,
    search: Annotated[
        str,
        typer.Option(
            help="Only names with this part; case and accents are ignored.", show_default=False
        ),
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="List at most this many.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List everyone enrolled, by name.

    Examples: `gallery identities list`, `gallery identities list --search muller --limit 20`
    """
    with open_existing(context) as gallery:
        if limit is None:
            records = gallery.identities(search)
            total = len(records)
        else:
            page = gallery.identity_page(search, limit=limit)
            records, total = page.identities, page.total
    if as_json:
        for record in records:
            emit(identity_json(record))
        return
    table = Table("id", "name", "faces", "external id", "created", box=None)
    for record in records:
        created = f"{record.created_at:%Y-%m-%d}"
        table.add_row(
            str(record.id),
            escape(record.name),
            str(record.faces),
            escape(record.external_id or ""),
            created,
        )
    show_table(table)
    listed = f"{len(records)} of " if len(records) < total else ""
    say(listed + count(total, "identity", "identities"), "dim")


@identities.command()
def show(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Show an identity and its faces.

    Example: `gallery identities show "Grace Hopper"`
    """
    with open_existing(context) as gallery:
        record, faces = gallery.identity(identity_meant(gallery, name).id)
    if as_json:
        emit(identity_with_faces_json(record, faces))
        return
    say(f"{record.name} (id {record.id}), {count(record.faces, 'face')}", "bold")
    if record.external_id:
        say(f"    external id: {record.external_id}")
    for key, value in record.details.items():
        say(f"    {key}: {value}")
    if record.expires_at is not None:
        say(f"    expires {record.expires_at:%Y-%m-%d %H:%M} UTC")
    if covered := _years_covered(faces):
        say(f"    {covered}")
    for face in faces:
        date = "" if face.taken is None else f", taken {face.taken}"
        box = ", ".join(f"{v:.0f}" for v in face.box.as_list())
        say(f"    face {face.id}: {face.photo} at {box}, sharpness {face.sharpness:.0f}{date}")


def _years_covered(faces: Sequence[FaceRecord]) -> str:
    """The years of the photos: "photos taken 1998 to 2004, 2019; 3 without a date"."""
    dates = [face.taken for face in faces if face.taken is not None]
    if not dates:
        return ""
    periods = [str(a) if a == b else f"{a} to {b}" for a, b in years_covered(dates)]
    undated = len(faces) - len(dates)
    return f"photos taken {', '.join(periods)}" + (f"; {undated} without a date" if undated else "")


@identities.command()
def rename(
    context: typer.Context,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", show_default=False)],
    new: Annotated[
        bool,
        typer.Option(
            "--new", help="Also if another's name differs only in case, accents or spacing."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rename an identity.

    Example: `gallery identities rename "G. Hopper" "Grace Hopper"`
    """
    with open_existing(context) as gallery:
        before = identity_meant(gallery, name)
        record = gallery.rename(before.id, new_name, new=new)
    emit(identity_json(record)) if as_json else say(f"{before.name} is now called {record.name}")


@identities.command()
def describe(
    context: typer.Context,
    name: Name,
    external_id: Annotated[
        str | None, typer.Option(help="Your own id for this person; empty removes it.")
    ] = None,
    detail: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE; KEY= removes it. Repeat it for several.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(help="When to erase the person: 2027-01-31, a time, or 90d. Empty: never."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation of an expiry in the past.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Set an identity's external id, details and expiry date.

    Example: `gallery identities describe "Grace Hopper" --external-id 1906 --detail rank=admiral`
    """
    pairs = [item.partition("=") for item in detail or ()]
    for (key, equals, _), item in zip(pairs, detail or (), strict=True):
        if not key or not equals:
            raise SettingInvalid(f"--detail {item!r} is not KEY=VALUE")
    due = moment(expires) if expires else None
    with open_existing(context) as gallery:
        record = identity_meant(gallery, name)
        if due is not None and due <= datetime.now(UTC) and not yes:
            typer.confirm(
                f"{due:%Y-%m-%d %H:%M} UTC is in the past: the next `gallery expire`, or a running"
                f" server within a minute, erases {record.name} for good. Set it?",
                abort=True,
                err=True,
            )
        details = {key: value for key, _, value in pairs}
        record = gallery.describe(
            record.id, external_id=external_id, details=details, expires=expires
        )
    if as_json:
        emit(identity_json(record))
        return
    say(f"updated {record.name}")
    if expires is not None:
        say_expiry(record)


@identities.command()
def merge(
    context: typer.Context,
    keep: Annotated[str, typer.Argument(metavar="KEEP", show_default=False)],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Merge identities: KEEP gets the faces of the others, whose names are dropped.

    Example: `gallery identities merge "Grace Hopper" "G. Hopper"`
    """
    with open_existing(context) as gallery:
        records = [gallery.identity(name)[0] for name in (keep, *others)]
        exact = [is_exact(name, r) for name, r in zip((keep, *others), records, strict=True)]
        if not yes or not all(exact):
            kept, *rest = (record.name for record in records)
            typer.confirm(f"Merge {', '.join(rest)} into {kept}?", abort=True, err=True)
        before = {record.id: record.faces for record in records}
        merged = gallery.merge(records[0].id, [record.id for record in records[1:]])
    record = merged.identity
    duplicates = sum(before.values()) - record.faces
    note = f" ({count(duplicates, 'duplicate')} set aside)" if duplicates > 0 else ""
    if as_json:
        emit(identity_json(record) | {"merge_id": merged.merge_id})
    else:
        say(
            f"{record.name} now has {count(record.faces, 'face')}{note};"
            f" `gallery identities unmerge {merged.merge_id}` undoes the merge"
        )
        if record.expires_at != records[0].expires_at:
            say_expiry(record)


@identities.command()
def unmerge(
    context: typer.Context,
    merge_id: Annotated[
        int | None,
        typer.Argument(
            metavar="[MERGE_ID]",
            help="The number that `merge` printed. Default: list all merges.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Undo a merge. Faces enrolled since then stay with the identity that was kept.

    Example: `gallery identities unmerge 3`
    """
    with open_existing(context) as gallery:
        if merge_id is None:
            merges = gallery.merges()
        else:
            records = gallery.undo_merge(merge_id)
    if merge_id is None:
        for merge in merges:
            if as_json:
                emit(merge_json(merge))
            else:
                kept = merge.kept_name or "an identity merged since"
                pairs = zip(merge.names, merge.others, strict=True)
                merged = ", ".join(f"{name} (id {other})" for name, other in pairs)
                say(f"{merge.id}: {merged} into {kept}, {merge.created_at:%Y-%m-%d %H:%M}")
        if not merges and not as_json:
            say("no merges to undo", "dim")
        return
    for record in records:
        if as_json:
            emit(identity_json(record))
        else:
            say(f"{record.name} has {count(record.faces, 'face')} again")


@identities.command()
def distinct(
    context: typer.Context,
    name: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER", show_default=False)],
    undo: Annotated[bool, typer.Option("--undo", help="Compare the two again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Mark two identities as different people. A query that matches both is answered with the one
    that is clearly the likelier, and neither `check` nor `dedupe` takes them for one person.

    Example: `gallery identities distinct "Grace Hopper" "Grace Kelly"`
    """
    with open_existing(context) as gallery:
        first, second = (identity_meant(gallery, each) for each in (name, other))
        if first.id == second.id:
            raise SettingInvalid(f"{first.name} (id {first.id}) is one person; name two")
        gallery.keep_distinct(first.id, second.id, distinct=not undo)
    if as_json:
        emit({"identities": [name, other], "distinct": not undo})
    else:
        state = "compared again" if undo else "marked as different people"
        say(f"{first.name} and {second.name} are {state}")


@identities.command()
def forget(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a person and all their faces. This cannot be undone.

    Afterwards no file of the gallery or its cache contains a trace; the receipt confirms it.

    Example: `gallery identities forget "Grace Hopper"`
    """
    with open_existing(context) as gallery:
        record, _ = gallery.identity(name)
        plan_count = gallery.saved_plans()
        if not is_exact(name, record) or not yes:
            erased = f"{record.name} and {count(record.faces, 'face')}"
            also = f" This deletes {saved_plans(plan_count)} too." if plan_count else ""
            typer.confirm(f"Erase {erased}?{also} This cannot be undone.", abort=True, err=True)
        receipt = gallery.forget(record.id)
    show_receipt(receipt, as_json, record.name)
    if plan_count and not as_json:
        say(f"    deleted {saved_plans(plan_count)}", "yellow")
