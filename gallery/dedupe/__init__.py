"""Duplicates and wrong names, in a folder of photos or in the gallery.

Findings go into a plan (`plan`). Nothing changes until the user accepts them there.
"""
