"""From near pairs of faces to clusters of one person each.

The head scores pairs; the operating point holds the wanted precision.
"""
