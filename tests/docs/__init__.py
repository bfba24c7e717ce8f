"""The README and the guide: complete, linked, generated where they should be, and runnable."""
