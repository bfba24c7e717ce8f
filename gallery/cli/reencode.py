"""`re-encode`: change the encoder of a gallery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gallery.cli.app import ENCODER_HELP, WEIGHTS_HELP, JsonOption, app
from gallery.cli.opening import open_with_encoder
from gallery.cli.output import count, emit, progress, say
from gallery.config import REENCODE_LOCK
from gallery.errors import CannotReencode, SettingInvalid
from gallery.gallery import Gallery
from gallery.store import encoders
from gallery.store.encoders import EncoderState

if TYPE_CHECKING:
    from gallery.reencode import ReencodingPlan
    from gallery.store.encoders import EncoderRecord
    from gallery.store.reencoding import FaceToEncode
    from gallery.vision.pipeline import FacePipeline

_MAX_LISTED = 20


@app.command("re-encode")
def re_encode(
    context: typer.Context,
    encoder: Annotated[str | None, typer.Option(help=ENCODER_HELP, show_default=False)] = None,
    weights: Annotated[Path | None, typer.Option(help=WEIGHTS_HELP, show_default=False)] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Search this folder for photos that the gallery has not kept. File names do not"
            " matter.",
            show_default=False,
        ),
    ] = None,
    leave_missing: Annotated[
        bool,
        typer.Option(
            "--leave-missing",
            help="Leave faces without a picture enrolled, but out of every search.",
        ),
    ] = False,
    rollback: Annotated[
        bool,
        typer.Option(
            "--rollback",
            help="Go back to the previous encoder. It and this one change places: a second"
            " --rollback undoes the first.",
        ),
    ] = False,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Erase the encodings of the previous encoder. This cannot be undone.",
        ),
    ] = False,
    drop_pictures: Annotated[
        bool, typer.Option("--drop-pictures", help="Erase the photos and face crops that are kept.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Encode every face with another encoder. Names, ids, details and decisions stay.

    The old encoder answers queries until the last face is encoded; then the new one takes over. An
    interrupted run continues where it stopped. Faces that cannot be encoded are listed before
    anything is changed.

    Examples: `gallery re-encode --encoder onnx:model.onnx`, `gallery re-encode --rollback`
    """
    from gallery.admin.reencoding import reencoding_lock

    gallery, spec = open_with_encoder(context, encoder, weights)
    with gallery:
        chosen = [rollback, finish, drop_pictures, encoder is not None].count(True)
        if chosen != 1 and not (chosen == 0 and spec is not None):
            raise SettingInvalid(
                "give one of --encoder NAME, --rollback, --finish and --drop-pictures"
            )
        with reencoding_lock(gallery.settings.home / REENCODE_LOCK):
            if finish or drop_pictures:
                _erase(gallery, pictures=drop_pictures, yes=yes, as_json=as_json)
                return
            pipeline: Callable[[], FacePipeline]
            if rollback:
                record = gallery.previous_encoder()
                pipeline = cache(lambda: gallery.recorded_pipeline(record))
            else:
                assert spec is not None
                opened = gallery.encoder_pipeline(spec)
                record = gallery.encoder_record(opened)
                pipeline = cache(lambda: opened)
            _reencode(gallery, record, pipeline, photos, leave_missing, yes, as_json)


def _reencode(
    gallery: Gallery,
    record: EncoderRecord,
    pipeline: Callable[[], FacePipeline],
    photos: Path | None,
    leave_missing: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from gallery.admin.reencoding import reencode_gallery

    reencoder = gallery.reencoder(record, photos)
    listed: set[int] = set()
    try:
        with progress("looking for photos") as bar:

            def confirm(plan: ReencodingPlan) -> None:
                listed.update(face.id for face in plan.missing)
                with bar.paused():
                    _list_missing(plan.missing, as_json)
                    if leave_missing and not yes and not as_json:
                        number = count(len(plan.missing), "face")
                        typer.confirm(f"Leave {number} out of every search?", abort=True)

            result = reencode_gallery(
                reencoder,
                pipeline,
                gallery.switched,
                leave_missing=leave_missing,
                confirm=confirm,
                progress=bar.step,
            )
    except CannotReencode:
        missing = [face for face in reencoder.plan().missing if face.id not in listed]
        _list_missing(missing, as_json)
        _list_failed(reencoder.failures, as_json)
        raise
    _list_missing(result.missing, as_json)
    name = record.spec or record.name
    if as_json:
        emit(
            {
                "encoder": name,
                "weights_sha256": record.weights_sha256,
                "faces": result.faces,
                "encoded": result.encoded,
                "left": list(result.unencoded),
                "failed": list(result.failed.values()),
            }
        )
        return
    _list_failed(result.failed, as_json)
    say(
        f"{result.encoded} of {count(result.faces, 'face')} encoded with {name}, now in use",
        "green",
    )
    with suppress(CannotReencode):  # a new gallery has no previous encoder
        say(
            f"`gallery re-encode --rollback` goes back to {gallery.previous_encoder()}; --finish"
            " erases its encodings",
            "dim",
        )


def _list_missing(faces: Sequence[FaceToEncode], as_json: bool) -> None:
    """List faces that have no picture, or no landmarks, to be encoded from."""
    if as_json:
        if faces:
            emit({"missing": [_face_json(face) for face in faces]})
        return
    for face in faces[:_MAX_LISTED]:
        lack = "picture" if face.has_landmarks else "landmarks"
        say(f"no {lack} of {face.name} (face {face.id}), enrolled from {face.photo}", "yellow")
    _say_more(len(faces))


def _list_failed(reasons: Mapping[int, str], as_json: bool) -> None:
    """List faces whose pictures could not be encoded, by id, with the reasons."""
    if as_json:
        if reasons:
            emit({"failed": [{"face_id": i, "reason": text} for i, text in reasons.items()]})
        return
    for reason in list(reasons.values())[:_MAX_LISTED]:
        say(reason, "yellow")
    _say_more(len(reasons))


def _say_more(number: int) -> None:
    if number > _MAX_LISTED:
        say(f"and {number - _MAX_LISTED} more (--json lists all)", "yellow")


def _face_json(face: FaceToEncode) -> dict[str, Any]:
    return {
        "face_id": face.id,
        "identity": {"id": face.identity_id, "name": face.name},
        "photo": face.photo,
        "photo_sha256": face.photo_sha256,
    }


def _erase(gallery: Gallery, *, pictures: bool, yes: bool, as_json: bool) -> None:
    kind = "kept pictures" if pictures else f"encodings of {_names_to_lose(gallery)}"
    if not yes and not as_json:
        loss = "" if pictures else " This cannot be undone."
        typer.confirm(f"Erase the {kind}?{loss}", abort=True)
    erased = gallery.drop_pictures() if pictures else gallery.finish_reencoding()
    emit({"erased": erased}) if as_json else say(f"erased {erased} {kind}", "green")


def _names_to_lose(gallery: Gallery) -> str:
    """The encoders that --finish leaves no encodings of."""
    with gallery.database.reading() as session:
        others = [
            str(record)
            for record in encoders.with_encodings(session)
            if record.state is not EncoderState.CURRENT
        ]
    return " and ".join(others) or "other encoders"
