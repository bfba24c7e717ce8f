"""The main job shown on real photos: those that installed packages carry, or the user's own.
It works in a gallery that is thrown away afterwards.
"""
