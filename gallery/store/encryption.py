"""Database encryption with SQLCipher, from the extra `encrypted`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from gallery.errors import SettingInvalid


def sqlcipher_driver() -> ModuleType:
    """Return the SQLCipher driver. Raises SettingInvalid when it is not installed."""
    try:
        return import_module("sqlcipher3.dbapi2")
    except ImportError as error:
        raise SettingInvalid(
            "GALLERY_KEY_FILE is set, but the SQLCipher driver is not installed:"
            " pip install 'face-gallery[encrypted]'"
        ) from error


def key_setter(key: str) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
    """Return a listener that sets the key on each new connection.

    key : 64 hexadecimal digits, used as the raw key, so no time is spent deriving one.
    """

    def set_key(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA cipher_log_level = NONE")  # errors are raised, not printed
        cursor.execute(f"PRAGMA key = \"x'{key}'\"")

    return set_key


def read_key(file: Path) -> str:
    """Return the key in a file, 64 hexadecimal digits. Raises SettingInvalid, without the key."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise SettingInvalid(f"GALLERY_KEY_FILE {file} cannot be read: {reason}") from error
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise SettingInvalid(
            f"GALLERY_KEY_FILE {file} has {len(text)} characters, expected 64 hexadecimal digits"
            " (create them with `openssl rand -hex 32`)"
        )
    return text.lower()
