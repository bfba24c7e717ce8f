"""SHA-256 digests: hexadecimal text everywhere, stored as their 32 bytes, in half the room."""

from __future__ import annotations

from sqlalchemy import Dialect, LargeBinary, TypeDecorator


class Sha256(TypeDecorator[str]):
    """A column of digests. In SQL, compare it with bound values only: it holds no text."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _: Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, _: Dialect) -> str | None:
        return None if value is None else value.hex()
