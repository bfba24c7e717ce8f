"""The main job shown on real photos: those that installed packages carry, or the user's own."""
