"""From an encoding to a verdict: search, templates, the pairwise head and its operating point.
The decision itself is `decision`, which can only count verdicts.
"""
