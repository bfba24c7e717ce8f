"""A server, as the tests of the HTTP API have it."""

from __future__ import annotations

from tests.api.conftest import serve

__all__ = ["serve"]
