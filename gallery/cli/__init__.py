"""The command line: one thin function a command. `main` is the only way in."""

from __future__ import annotations

from gallery.cli.run import enroll_identity_main, main

__all__ = ["enroll_identity_main", "main"]
