"""What a server does by itself: erase who has expired, drop what the audit trail need not keep."""

from __future__ import annotations

from typing import Any

import anyio

from gallery.assembly import Gallery
from gallery.errors import GalleryError

_EVERY = 3600.0  # seconds


async def keep_up(gallery: Gallery, log: Any) -> None:
    """At once and then hourly, until it is cancelled. log : told how many were erased, no names."""

    def once() -> None:
        try:
            receipts = gallery.upkeep()
        except GalleryError as error:
            log.error("upkeep not done", error=type(error).__name__)
            return
        for receipt in receipts:
            log.info("expired", identity_id=receipt.identity_id, receipt=receipt.id)

    while True:
        await anyio.to_thread.run_sync(once)
        await anyio.sleep(_EVERY)
