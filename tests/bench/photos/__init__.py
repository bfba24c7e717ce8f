"""Photos a second, from file to answer, beside peers in the same run: python -m tests.bench.photos.

Each contender is a process of its own, pinned to the same cores, and they take turns.
"""
