"""`re-encode`: another encoder for a gallery that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from filelock import FileLock, Timeout

from gallery.cli.app import ENCODER_HELP, WEIGHTS_HELP, JsonOption, app, open_beside
from gallery.cli.output import count, emit, progress, say
from gallery.errors import CannotReencode, DatabaseBusy, SettingInvalid
from gallery.gallery import Gallery
from gallery.runtime import REENCODE_LOCK

if TYPE_CHECKING:
    from gallery.store.encoders import EncoderRecord
    from gallery.store.reencoding import FaceToEncode
    from gallery.vision.pipeline import FacePipeline

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
        with _alone(gallery):
            if finish or drop_pictures:
                _erase(gallery, pictures=drop_pictures, yes=yes, as_json=as_json)
                return
            if rollback:
                record = gallery.previous_encoder()
                eye = cache(lambda: gallery.recorded_pipeline(record))
            else:
                assert spec is not None
                seeing = gallery.encoder_pipeline(spec)
                record = gallery.encoder_record(seeing)
                eye = cache(lambda: seeing)
            _run(gallery, record, eye, photos, leave_missing, yes, as_json)


@contextmanager
def _alone(gallery: Gallery) -> Iterator[None]:
    """One process at a time changes what is stored of encoders. Raises DatabaseBusy."""
    lock = FileLock(gallery.settings.home / REENCODE_LOCK, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise DatabaseBusy(
            f"{gallery.settings.home} is being re-encoded by another process; wait for it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _run(
    gallery: Gallery,
    record: EncoderRecord,
    eye: Callable[[], FacePipeline],
    photos: Path | None,
    leave: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from gallery.reencode import cannot

    work = gallery.reencoder(record, photos)
    with progress("looking for photos") as advance:
        work.look(advance)
    plan = work.plan()
    named = {face.id for face in plan.missing}
    if plan.missing:
        _name(plan.missing, as_json)
        if not leave:
            raise cannot(plan)
        if not yes and not as_json:
            typer.confirm(f"Leave {count(len(plan.missing), 'face')} unfound?", abort=True)
    if plan.possible:
        eye()  # before anything is changed
    work.start()
    while True:
        with progress("encoding") as advance:
            work.encode(eye, advance)
        try:
            if work.switch(leave_missing=leave):
                break
        except CannotReencode:
            _name([face for face in work.plan().missing if face.id not in named], as_json)
            _name_failed(work.failed, as_json)
            raise
    gallery.switched()
    end = work.plan()  # somebody may have been enrolled or erased meanwhile
    _name([face for face in end.missing if face.id not in named], as_json)
    failed = {face.id: work.failed[face.id] for face in end.failed}
    if as_json:
        emit(
            {
                "encoder": record.spec or record.name,
                "weights_sha256": record.weights_sha256,
                "faces": end.faces,
                "encoded": end.ready,
                "left": [face.id for face in end.left],
                "failed": list(failed.values()),
            }
        )
        return
    _name_failed(failed, as_json)
    said = record.spec or record.name
    say(f"{end.ready} of {count(end.faces, 'face')} are now of {said}", "green")
    say("`gallery re-encode --rollback` goes back; --finish erases what that needs", "dim")


def _name(missing: Sequence[FaceToEncode], as_json: bool) -> None:
    """Say which faces cannot be encoded, if there are any."""
    if as_json:
        if missing:
            emit({"missing": [_face(face) for face in missing]})
        return
    for face in missing[:_MOST_NAMED]:
        what = "picture" if face.placed else "landmarks"
        say(f"no {what} of {face.name} (face {face.id}), enrolled from {face.photo}", "yellow")
    _say_more(len(missing))


def _name_failed(failed: dict[int, str], as_json: bool) -> None:
    """Say which faces' pictures could not be encoded, and why, if there are any."""
    if as_json:
        if failed:
            emit({"failed": [{"face_id": i, "reason": why} for i, why in failed.items()]})
        return
    for why in list(failed.values())[:_MOST_NAMED]:
        say(why, "yellow")
    _say_more(len(failed))


def _say_more(number: int) -> None:
    if number > _MOST_NAMED:
        say(f"and {number - _MOST_NAMED} more (--json names all)", "yellow")


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
