"""A head in numpy judges as its networks do in torch, where they are trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gallery.encoders.built_in import TRAITS
from gallery.matching.head import DIFFERENT, SAME, Head
from gallery.matching.pair_features import features_width, pair_features
from gallery.training.pair_network import PairNetwork
from gallery.types import Float32
from tests.matching.heads import make_head
from tests.models import shipped_head

HEADS: dict[str, Callable[[], Head]] = {
    **{name: lambda traits=traits: shipped_head(traits) for name, traits in TRAITS.items()},
    "random": make_head,
    "random, no hidden layer": lambda: make_head(hidden=0),
}


def margins_in_torch(head: Head, a: Float32, b: Float32) -> Float32:
    names, hidden = head.metadata.features, head.metadata.hidden
    features = torch.from_numpy(pair_features(names, a, b))
    members = []
    for network in head.networks:
        reference = PairNetwork(features_width(names), hidden, dropout=0.5).eval()
        reference.load_state_dict({k: torch.from_numpy(v) for k, v in network.arrays.items()})
        members.append(reference(features))
    logits = torch.stack(members).mean(dim=0)
    margins: Float32 = (logits[:, SAME] - logits[:, DIFFERENT]).detach().numpy()
    return margins


@pytest.mark.parametrize("name", HEADS)
def test_margins_are_those_of_torch(unit_rows, name: str) -> None:
    head = HEADS[name]()
    a, b = head.sides(unit_rows(2_000, 20)), head.sides(unit_rows(2_000, 21))
    b[::2, :128] = a[::2, :128]  # every second pair is of the same person
    margins = head.margins(a, b)
    assert margins.dtype == np.float32 and margins.std() > 0.01
    np.testing.assert_allclose(margins, margins_in_torch(head, a, b), rtol=0, atol=1e-4)


def test_a_head_does_not_follow_further_training() -> None:
    network = PairNetwork(7, 8, dropout=0.5)
    fitted = network.dense_network()
    before = fitted.arrays["out.bias"].copy()
    with torch.no_grad():
        network.out.bias += 1
    assert np.array_equal(fitted.arrays["out.bias"], before)
