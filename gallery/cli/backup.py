"""`backup` and `restore`: the whole gallery in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallery.admin.backup import BackupInfo, restore, verify
from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import count, emit, progress, say
from gallery.config import load_settings
from gallery.errors import SettingInvalid

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]


@app.command()
def backup(context: typer.Context, file: BackupFile, as_json: JsonOption = False) -> None:
    """Write the whole gallery to one file, also while it is served and written to.

    The file holds everything: names, encodings, keys' hashes, the audit trail. Whoever is erased
    later is still in it; the receipt names it.

    Example: `gallery backup gallery-2026-11-24.backup`
    """
    if not file.parent.is_dir():
        raise SettingInvalid(f"{file.parent} is not a folder; make it first")
    with open_gallery(context) as gallery, progress("backup") as advance:
        made = gallery.back_up(file, advance)
    _show(file, made, as_json)


@app.command("restore")
def restore_backup(
    context: typer.Context,
    file: BackupFile,
    only_verify: Annotated[
        bool, typer.Option("--verify", help="Only read it whole, and check every byte.")
    ] = False,
    forget: Annotated[
        list[int] | None,
        typer.Option(
            help="Erase this identity, by number, before anyone can ask: as a receipt of a later"
            " erasure names it. Repeat it for several.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a gallery of a backup, at --home, where there must be none.

    Every byte is checked before anything is there. Whoever was erased after the backup was made is
    in it again: name them with --forget.

    Example: `gallery restore gallery-2026-11-24.backup --home restored`
    """
    settings = load_settings(home=context.obj.home)
    with progress("restoring") as advance:
        if only_verify:
            found = verify(file, advance)
        else:
            found = restore(file, settings, forget or (), advance)
    _show(file, found, as_json)


def _show(file: Path, found: BackupInfo, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "file": str(file),
                "id": found.id,
                "made_at": found.made_at.isoformat(),
                "program": found.program,
                "schema": found.schema,
                "encoder": found.encoder,
                "identities": found.identities,
                "faces": found.faces,
                "own_head": found.own_head,
            }
        )
        return
    people = count(found.identities, "identity", "identities")
    made = f"{found.made_at:%Y-%m-%d %H:%M}"
    say(f"{file}: backup {found.id} of {made} UTC, {people}, {count(found.faces, 'face')}, whole")
