"""`faces`: erase single faces, move them to another identity, or date their photos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from gallery.cli.app import Commands, JsonOption, app
from gallery.cli.lookup import identity_meant
from gallery.cli.opening import open_existing
from gallery.cli.output import count, emit, saved_plans, say, say_expiry, show_receipt
from gallery.errors import FaceNotFound, SettingInvalid
from gallery.json_forms.to_json import face_record_json

faces = Commands(no_args_is_help=True)
app.add_typer(faces, name="faces", help="Erase, move or date single faces.")


@faces.command("forget")
def forget_faces(
    context: typer.Context,
    face_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[FACE_ID]...", show_default=False)
    ] = None,
    photo: Annotated[
        str | None,
        typer.Option(
            help="Every face enrolled from this photo: a file, or a file's SHA-256.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase single faces of identities that have others. This cannot be undone.

    `gallery identities show NAME` lists the face ids.

    Example: `gallery faces forget 12`, or `gallery faces forget --photo party.jpg`
    """
    if bool(face_ids) == (photo is not None):
        raise SettingInvalid("give either face ids or --photo PHOTO")
    with open_existing(context) as gallery:
        ids = list(face_ids or ()) if photo is None else gallery.faces_from(photo)
        plan_count = gallery.saved_plans()
        if not yes:
            listed = ", ".join(map(str, ids))
            also = f" This deletes {saved_plans(plan_count)} too." if plan_count else ""
            typer.confirm(
                f"Erase {count(len(ids), 'face')} ({listed})?{also} This cannot be undone.",
                abort=True,
                err=True,
            )
        receipts = gallery.forget_faces(ids)
        names = {record.id: record.name for record in gallery.identities()}
    for receipt in receipts:
        show_receipt(receipt, as_json, names.get(receipt.identity_id))
    if plan_count and not as_json:
        say(f"    deleted {saved_plans(plan_count)}", "yellow")


@faces.command("move")
def move_face(
    context: typer.Context,
    face_id: Annotated[int, typer.Argument(metavar="FACE_ID", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Move a face to another identity. Moving it back undoes it.

    `gallery identities show NAME` lists the face ids.

    Example: `gallery faces move 12 "Grace Hopper"`
    """
    with open_existing(context) as gallery, _listed():
        target = identity_meant(gallery, name)
        record = gallery.move_face(face_id, target.id)
    if as_json:
        emit({"face_id": face_id, "identity": record.name})
    else:
        say(f"face {face_id} now belongs to {record.name}")
        if record.expires_at != target.expires_at:
            say_expiry(record)


@faces.command("date")
def date_face(
    context: typer.Context,
    face_id: Annotated[int, typer.Argument(metavar="FACE_ID", show_default=False)],
    taken: Annotated[
        str,
        typer.Argument(
            metavar="DATE", help="1998, 1998-07 or 1998-07-14; empty: unknown.", show_default=False
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Set when the photo of a face was taken.

    `gallery identities show NAME` lists the face ids and dates.

    Example: `gallery faces date 12 1998`
    """
    with open_existing(context) as gallery, _listed():
        face = gallery.set_taken(face_id, taken or None)
    if as_json:
        emit(face_record_json(face))
    else:
        date = "has no date" if face.taken is None else f"is dated {face.taken}"
        say(f"the photo of face {face.id} ({face.identity.name}) {date}")


@contextmanager
def _listed() -> Iterator[None]:
    """Say where face ids are listed when one is not found."""
    try:
        yield
    except FaceNotFound as error:
        raise FaceNotFound(f"{error}; `gallery identities show NAME` lists them") from error
