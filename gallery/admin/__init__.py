"""Keeping a gallery healthy: backups, exports, checks and repairs. Nothing here drops a person."""
