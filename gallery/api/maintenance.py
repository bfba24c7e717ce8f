"""Background maintenance: erasures, expired identities, the audit trail, the index."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio

from gallery.errors import GalleryError
from gallery.gallery import Gallery
from gallery.store.audit import Actor, act_as

_INTERVAL = 60.0  # seconds
_SERVER = Actor("server")


async def run_maintenance(gallery: Gallery, log: Any) -> None:
    """Maintain the gallery now and every minute until cancelled; log erasures by number.

    Of failures in a row, the first is logged.
    """
    has_failed = False

    def maintain() -> None:
        nonlocal has_failed
        act_as(_SERVER)
        try:
            receipts = gallery.upkeep()
        except (GalleryError, OSError) as error:
            if not has_failed:
                log.error("upkeep not done", error=type(error).__name__)
            has_failed = True
            return
        has_failed = False
        for receipt in receipts:
            log.info("expired", identity_id=receipt.identity_id, receipt=receipt.id)

    def speed_up() -> None:
        with contextlib.suppress(GalleryError, OSError):  # the index goes on as it is
            if gallery.speed_up_index():
                log.info("index sped up")

    while True:
        await anyio.to_thread.run_sync(maintain)
        # Closing the gallery stops it.
        await anyio.to_thread.run_sync(speed_up, abandon_on_cancel=True)
        await anyio.sleep(_INTERVAL)
