"""From near pairs of faces to clusters of one person each. The head judges pairs, and an operating
point keeps a wanted precision.
"""
