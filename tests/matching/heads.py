"""Small heads with random weights."""

from __future__ import annotations

import numpy as np
import torch

from gallery.matching.calibration import Calibration, Caution, ImpostorPrior
from gallery.matching.cohort import Cohort
from gallery.matching.head import Head, HeadMetadata
from gallery.matching.operating_curve import OperatingCurve
from gallery.matching.pair_features import FEATURES, features_width
from gallery.training.pair_network import PairNetwork

ENCODER, SHA256 = "an-encoder", "ab" * 32


CURVE = OperatingCurve(np.array([-1.0, -2.0, -3.5]), np.array([-0.5, 1.0, 4.25]), tail=2)


CALIBRATION = Calibration(
    CURVE,
    ImpostorPrior(-1.0, 1.0, 0.9, 0.1, 0.1, per_face=True),
    Caution((1, 30), (0.1, 0.01), ((2.0, 3.0), (1.0, 1.0))),
    0.9,
    np.sort(np.random.default_rng(0).normal(size=(3, 101))),
    np.array([0.5, 1.0, -0.1, 0.0]),
    1.5,
)


def make_head(features: tuple[str, ...] = FEATURES, hidden: int = 8, seed: int = 1) -> Head:
    width = features_width(features)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        networks = [PairNetwork(width, hidden, dropout=0.5) for _ in range(2)]
        for network in networks:
            network.offset.normal_(0.0, 0.1)
            network.scale.uniform_(0.5, 2.0)
        centres = torch.nn.functional.normalize(torch.randn(24, 128), dim=1).numpy()
    marks = HeadMetadata(ENCODER, SHA256, features, hidden, CALIBRATION)
    return Head(Cohort(centres), [network.dense_network() for network in networks], marks)
