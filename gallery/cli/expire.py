"""`expire`: erase identities whose expiry date has passed."""

from __future__ import annotations

from typing import Annotated

import typer

from gallery.cli.app import JsonOption, app
from gallery.cli.opening import open_existing
from gallery.cli.output import emit, progress, saved_plans, say, show_receipt
from gallery.json_forms.to_json import identity_json


@app.command()
def expire(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List who has expired, and erase nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase everyone whose expiry date has passed, without asking. This cannot be undone.

    `gallery identities describe NAME --expires 2027-01-31` sets the date. `gallery serve` erases
    expired identities by itself.

    Example: `gallery expire`
    """
    with open_existing(context) as gallery:
        expired = gallery.expired() if dry_run else []
        plan_count = gallery.saved_plans()
        with progress("erasing") as advance:
            receipts = [] if dry_run else gallery.expire(advance)
    for record in expired:
        if as_json:
            emit(identity_json(record))
        else:
            say(f"{record.name} (id {record.id}) has expired")
    for receipt in receipts:
        show_receipt(receipt, as_json)
    if receipts and plan_count and not as_json:
        say(f"    deleted {saved_plans(plan_count)}", "yellow")
    if not as_json and not expired and not receipts:
        say("nobody has expired", "dim")
