"""From a photo to its faces: decoding, detection, alignment, and the crops that are kept.

Photos are processed one at a time, so that no result depends on another photo.
"""
