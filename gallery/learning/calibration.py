"""The operating curve: how often pairs of two held-out people exceed which margin."""

from __future__ import annotations

import numpy as np
import torch

from gallery.head import PairNetwork
from gallery.learning.encoded import EncodedPeople
from gallery.operating_point import OperatingCurve
from gallery.types import Float32

_HIGHEST_RATE, _POINTS_A_DECADE = 0.1, 6
_LEAST_PAIRS_BEHIND_A_POINT = 10


def operating_curve(network: PairNetwork, people: EncodedPeople) -> OperatingCurve:
    """Measured on every pair of two of these people, down to the rate ten pairs stand behind."""
    margins = -np.sort(-impostor_margins(network, people).astype(np.float64))
    lowest = min(_LEAST_PAIRS_BEHIND_A_POINT / len(margins), _HIGHEST_RATE / 10)
    decades = np.log10(_HIGHEST_RATE / lowest)
    log10_rates = np.linspace(
        np.log10(_HIGHEST_RATE), np.log10(lowest), max(2, round(decades * _POINTS_A_DECADE))
    )
    exceeded = margins[(10.0**log10_rates * len(margins)).astype(np.int64)]
    return OperatingCurve(log10_rates, exceeded)


def impostor_margins(network: PairNetwork, people: EncodedPeople) -> Float32:
    """Margins (same - different logit) of every pair of two people, float32 (p,)."""
    network.eval()
    rows = torch.from_numpy(people.vectors)
    found: list[Float32] = []
    with torch.inference_mode():
        for i in range(1, len(rows)):
            others = np.flatnonzero(people.people[:i] != people.people[i])
            logits = network(rows[i].expand(len(others), -1), rows[others])
            found.append((logits[:, 1] - logits[:, 0]).numpy())
    return np.concatenate(found)
