"""Demonstrations on real photos, from installed packages or a folder, in a temporary gallery."""
