"""A database with what the settings say of it."""

from __future__ import annotations

from pathlib import Path

from gallery.config import Settings
from gallery.store.database import Database
from gallery.store.encryption import read_key


def open_database(settings: Settings, file: Path) -> Database:
    """Raises HomeError, or SettingInvalid for a key that cannot be used."""
    key = None if settings.key_file is None else read_key(settings.key_file)
    return Database(file, busy_timeout=settings.busy_timeout, key=key)
