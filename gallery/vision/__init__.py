"""From a photo to faces: decoding, detection, alignment, and the crops that are kept.

One photo at a time, so that its answer never depends on what came before it.
"""
