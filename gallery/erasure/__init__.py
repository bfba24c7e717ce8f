"""Erase people from every file: rows, index, caches, and whatever was learned from them. A search
of all files verifies it, and a receipt records it.
"""
