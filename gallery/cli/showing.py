"""`demo`: the main job on real photos."""
