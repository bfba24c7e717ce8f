"""Erasing people so that nothing of them is left: rows, index, caches and what was learned.
A search of every file proves it, and a receipt says it.
"""
