"""Evaluation on labelled people: identification, the promised FPIR, clustering, baselines, plots.

Nothing here changes a gallery. `evaluate` has a function for each `evaluate` command.
"""
