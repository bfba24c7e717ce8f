"""Steps 4 to 6 of the walk, from an encoding to a decision.

`index` and `search` find candidate identities; `templates`, `cohort`, `head` and `operating_point`
are what `scorer` turns candidates into verdicts with; `decision` counts the verdicts. Nothing here
imports torch, which takes seconds: heads are trained in `gallery/training`.
"""
