"""Connections are let go of when the other side does not get on; uvicorn itself waits for ever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class _Impatient(H11Protocol):
    """Aborts when a header takes over `patience` seconds to arrive, or an answer to be taken."""

    patience: float
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(self.patience, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._writing)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def _await_header(self) -> None:
        """Begin to wait, go on waiting, or have it: a few more bytes do not make it any longer."""
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._reading)
            self._reading = None
        elif self._reading is None:
            self._reading = self.loop.call_later(self.patience, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def impatient(seconds: float) -> type[H11Protocol]:
    """What uvicorn is to speak HTTP with."""
    return type("Impatient", (_Impatient,), {"patience": seconds})
