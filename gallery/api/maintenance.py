"""What a server does by itself: finish erasures, erase who has expired, prune the audit trail."""

from __future__ import annotations

from typing import Any

import anyio

from gallery.errors import GalleryError
from gallery.gallery import Gallery

_EVERY = 60.0  # seconds; it looks, and seldom finds something to do


async def keep_up(gallery: Gallery, log: Any) -> None:
    """At once and then each minute, until it is cancelled. log : told of erasures, by number."""

    def once() -> None:
        try:
            receipts = gallery.upkeep()
        except (GalleryError, OSError) as error:
            log.error("upkeep not done", error=type(error).__name__)
            return
        for receipt in receipts:
            log.info("expired", identity_id=receipt.identity_id, receipt=receipt.id)

    while True:
        await anyio.to_thread.run_sync(once)
        await anyio.sleep(_EVERY)
