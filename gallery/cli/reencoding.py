"""`re-encode`: another encoder for a gallery that is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from filelock import FileLock, Timeout

from gallery.assembly import Gallery
from gallery.cli.app import ENCODER_HELP, WEIGHTS_HELP, JsonOption, app, open_beside
from gallery.cli.output import count, emit, progress, say
from gallery.encoders.opening import Spec
from gallery.errors import DatabaseBusy, SettingInvalid

if TYPE_CHECKING:
    from gallery.reencode import Plan
    from gallery.store.reencoding import FaceToEncode

_LOCK_FILE = "reencode.lock"
_MOST_NAMED = 20


@app.command("re-encode")
def re_encode(
    context: typer.Context,
    encoder: Annotated[str | None, typer.Option(help=ENCODER_HELP, show_default=False)] = None,
    weights: Annotated[Path | None, typer.Option(help=WEIGHTS_HELP, show_default=False)] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Look in this folder for photos that are not kept, whatever they are called now.",
            show_default=False,
        ),
    ] = None,
    leave_missing: Annotated[
        bool,
        typer.Option(
            "--leave-missing",
            help="Faces without a picture stay enrolled, but are not found any more.",
        ),
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the encoder before.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Erase what --rollback would need.")
    ] = False,
    drop_pictures: Annotated[
        bool, typer.Option("--drop-pictures", help="Erase the kept photos and chips.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Encode everyone with another encoder; names, ids, facts and decisions stay.

    The old encoder answers until the last face is done, then the new one does. A run that was cut
    short goes on where it was. What cannot be encoded is named before anything begins.

    Examples: `gallery re-encode --encoder onnx:model.onnx`, `gallery re-encode --rollback`
    """
    gallery, spec = open_beside(context, encoder, weights)
    with gallery:
        wanted = [rollback, finish, drop_pictures, encoder is not None].count(True)
        if wanted != 1 and not (wanted == 0 and spec is not None):
            raise SettingInvalid(
                "give one of --encoder NAME, --rollback, --finish and --drop-pictures"
            )
        if finish or drop_pictures:
            _erase(gallery, pictures=drop_pictures, yes=yes, as_json=as_json)
            return
        if rollback:
            spec = gallery.previous_encoder()
        assert spec is not None
        try:
            with FileLock(gallery.settings.home / _LOCK_FILE, timeout=0, mode=0o600):
                _run(gallery, spec, photos, leave_missing, yes, as_json)
        except Timeout as error:
            raise DatabaseBusy(
                f"{gallery.settings.home} is being re-encoded by another process; wait for it"
            ) from error


def _run(
    gallery: Gallery, spec: Spec, photos: Path | None, leave: bool, yes: bool, as_json: bool
) -> None:
    from gallery.reencode import cannot

    eye = gallery.encoder_eye(spec)
    work = gallery.reencoder(eye, photos)
    with progress("looking for photos") as advance:
        work.look(advance)
    plan = work.plan()
    if plan.missing:
        _name(plan, as_json)
        if not leave:
            raise cannot(plan)
        if not yes and not as_json:
            typer.confirm(f"Leave {count(len(plan.missing), 'face')} unfound?", abort=True)
    work.start()
    while True:
        with progress("encoding") as advance:
            work.encode(eye, advance)
        if work.switch(leave_missing=leave):
            break
    gallery.switched()
    left = work.plan().missing
    if as_json:
        emit(
            {
                "encoder": eye.encoder.network.traits.spec,
                "weights_sha256": eye.encoder.weights_sha256,
                "faces": plan.faces,
                "encoded": plan.faces - len(left),
                "left": [face.id for face in left],
                "failed": list(work.failed.values()),
            }
        )
        return
    for reason in work.failed.values():
        say(reason, "yellow")
    say(f"{plan.faces - len(left)} of {count(plan.faces, 'face')} are now of {spec}", "green")
    say("`gallery re-encode --rollback` goes back; --finish erases what that needs", "dim")


def _name(plan: Plan, as_json: bool) -> None:
    """Say which faces cannot be encoded."""
    if as_json:
        emit({"missing": [_face(face) for face in plan.missing]})
        return
    for face in plan.missing[:_MOST_NAMED]:
        say(f"no picture of {face.name} (face {face.id}), enrolled from {face.photo}", "yellow")
    if len(plan.missing) > _MOST_NAMED:
        say(f"and {len(plan.missing) - _MOST_NAMED} more (--json names all)", "yellow")


def _face(face: FaceToEncode) -> dict[str, Any]:
    return {
        "face_id": face.id,
        "identity": {"id": face.identity_id, "name": face.name},
        "photo": face.photo,
        "photo_sha256": face.photo_sha256,
    }


def _erase(gallery: Gallery, *, pictures: bool, yes: bool, as_json: bool) -> None:
    what = "kept pictures" if pictures else "encodings of other encoders"
    if not yes and not as_json:
        typer.confirm(f"Erase the {what}?", abort=True)
    dropped = gallery.drop_pictures() if pictures else gallery.finish_reencoding()
    emit({"erased": dropped}) if as_json else say(f"{dropped} {what} erased", "green")
