"""Five ways to decide whether two encodings are of the same person, fitted on the same people.

a  Euclidean distance, the most accurate threshold
b  Euclidean distance, the threshold at a false-accept rate on the ROC curve
c  Siamese: a projection of the encodings trained with contrastive loss, threshold as in (b)
d  distance head: Euclidean distance, Dense 512, dropout, two sigmoids, argmax
e  our head
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from gallery.matching.head import Head
from gallery.training.calibrate import uncalibrated_head
from gallery.training.encode import EncodedPeople
from gallery.training.pairs import Pairs, PairSampler
from gallery.training.statistics import most_accurate_threshold
from gallery.training.train import Recipe, train
from gallery.types import DIMENSION, Encodings, Float32, Float64, Int64

TARGET_FAR = 0.001
_SIAMESE_WIDTH, _SIAMESE_EPOCHS, _CONTRASTIVE_MARGIN = 64, 15, 1.0
_SHORTLIST = 50
_PAIRS = 200_000


class Decider(ABC):
    """Scores pairs of encodings; a higher score means likelier the same person.

    name : in reports.  label : in tables and plots.
    threshold : a score above it means "same".
    """

    name: str
    label: str
    threshold: float = 0.0
    _scale: tuple[float, float] | None = None

    @abstractmethod
    def scores(self, a: Encodings, b: Encodings) -> Float64:
        """Score the pairs of rows, (n,)."""

    def cross(self, probes: Encodings, enrolled: Encodings) -> Float32:
        """Score every probe against all enrolled encodings, float32 (p, g).

        As in a gallery, only a probe's fifty nearest by cosine are scored; the others are -inf.
        """
        cosines = probes.vectors @ enrolled.vectors.T
        keep = min(_SHORTLIST, len(enrolled))
        columns = np.argpartition(-cosines, keep - 1, axis=1)[:, :keep].ravel()
        rows = np.repeat(np.arange(len(probes)), keep)
        scores = np.full(cosines.shape, -np.inf, dtype=np.float32)
        scores[rows, columns] = self.scores(probes.take(rows), enrolled.take(columns))
        return scores

    @property
    def is_calibrated(self) -> bool:
        return self._scale is not None

    def probabilities(self, scores: Float64) -> Float64:
        """The probability of the same person, with both kinds of pair equally frequent, (n,).

        The decider must be calibrated.
        """
        probabilities: Float64 = expit(self.log_odds(scores))
        return probabilities

    def log_odds(self, scores: Float64) -> Float64:
        """The log odds of the probabilities, (n,)."""
        assert self._scale is not None
        offset, slope = self._scale
        return offset + slope * scores

    def calibrate(self, scores: Float64, same: Int64) -> None:
        """Fit the probabilities (Platt scaling) on pairs of people that are in no test."""
        fitted = LogisticRegression(C=1e6, class_weight="balanced").fit(scores[:, None], same)
        self._scale = float(fitted.intercept_[0]), float(fitted.coef_[0, 0])


def unnormalised(encodings: Encodings) -> Float32:
    """The vectors with the lengths that the network gave them, (n, 128)."""
    return encodings.vectors * encodings.norms[:, None]


class Euclidean(Decider):
    """(a) and (b): the Euclidean distance."""

    def __init__(self, name: str = "euclidean", label: str = "Euclidean distance") -> None:
        self.name, self.label = name, label

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        distances = np.linalg.norm(unnormalised(a) - unnormalised(b), axis=1)
        return np.asarray(-distances, np.float64)


class Cosine(Decider):
    """The cosine, for comparison."""

    name, label = "cosine", "cosine"

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        cosines: Float64 = np.einsum("ij,ij->i", a.vectors, b.vectors).astype(np.float64)
        return cosines


class Siamese(Decider):
    """(c): the distance of projections trained with contrastive loss."""

    name, label = "siamese", "projection, contrastive loss"

    def __init__(self, people: EncodedPeople, seed: int) -> None:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        self._project = nn.Linear(DIMENSION, _SIAMESE_WIDTH)
        optimiser = torch.optim.AdamW(self._project.parameters(), lr=1e-3, weight_decay=1e-3)
        sampler, rows = PairSampler(people), torch.from_numpy(unnormalised(people.probes))
        for _ in range(_SIAMESE_EPOCHS):
            pairs = sampler.draw(rng)
            order = rng.permutation(len(pairs.same))
            for batch in np.array_split(order, max(1, len(order) // 512)):
                loss = self._loss(rows, pairs, batch)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()

    def _loss(self, rows: Tensor, pairs: Pairs, batch: Int64) -> Tensor:
        a, b = (self._project(rows[side[batch]]) for side in (pairs.first, pairs.second))
        distance = (a - b).square().sum(dim=1).add(1e-9).sqrt()
        same = torch.from_numpy(pairs.same[batch]).float()
        shortfall = (_CONTRASTIVE_MARGIN - distance).clamp(min=0).square()
        losses = same * distance.square() + (1 - same) * shortfall
        loss: Tensor = (losses * torch.from_numpy(pairs.weights[batch])).mean()
        return loss

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        with torch.inference_mode():
            first, second = (self._project(torch.from_numpy(unnormalised(e))) for e in (a, b))
            distances: Float64 = (first - second).norm(dim=1).numpy().astype(np.float64)
        return -distances


class HeadDecider(Decider):
    """(d) and (e): a head's margin; above 0 its argmax is "same"."""

    def __init__(self, head: Head, name: str, label: str) -> None:
        self.head, self.name, self.label = head, name, label

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        return self.head.margins(self.head.sides(a), self.head.sides(b)).astype(np.float64)


def our_head(people: EncodedPeople, recipe: Recipe) -> HeadDecider:
    """(e), fitted on all these people."""
    return HeadDecider(_fitted(people, recipe), "head", "our head")


def distance_head(people: EncodedPeople, seed: int) -> HeadDecider:
    """(d), fitted on all these people."""
    recipe = replace(Recipe(), features=("distance",), networks=1, seed=seed)
    label = "distance, Dense 512, dropout, two sigmoids"
    return HeadDecider(_fitted(people, recipe), "distance-head", label)


def five_deciders(people: EncodedPeople, ours: Decider, seed: int) -> list[Decider]:
    """All five, with thresholds and probabilities fitted on these people's pairs."""
    deciders: list[Decider] = [
        Euclidean("euclidean-accuracy", "Euclidean, most accurate threshold"),
        Euclidean("euclidean-roc", f"Euclidean, threshold at FAR {TARGET_FAR:.1%}"),
        Siamese(people, seed),
        distance_head(people, seed),
        ours,
    ]
    first, second, same = random_pairs(people, seed)
    a, b = people.probes.take(first), people.enrolled.take(second)
    for decider in deciders:
        scores = decider.scores(a, b)
        decider.calibrate(scores, same)
        if decider.name == "euclidean-accuracy":
            decider.threshold = float(np.nextafter(most_accurate_threshold(scores, same).value, -9))
        elif not isinstance(decider, HeadDecider):
            impostors = -np.sort(-scores[same == 0])
            decider.threshold = float(impostors[int(TARGET_FAR * len(impostors))])
    return deciders


def random_pairs(people: EncodedPeople, seed: int) -> tuple[Int64, Int64, Int64]:
    """Draw up to 40 pairs of each person, and all pairs of two people or 200,000 random ones.

    Returns first and second, rows of the people, and same, 0 or 1: int64 (p,) each.
    """
    rng = np.random.default_rng(seed)
    drawn = PairSampler(people).draw(rng)
    positive = drawn.same == 1
    if len(people) * (len(people) - 1) // 2 <= _PAIRS:
        a, b = np.triu_indices(len(people), k=1)
    else:
        a, b = rng.integers(0, len(people), (2, _PAIRS))
    negative = people.people[a] != people.people[b]
    first = np.concatenate([drawn.first[positive], a[negative]])
    second = np.concatenate([drawn.second[positive], b[negative]])
    same = np.zeros(len(first), dtype=np.int64)
    same[: int(positive.sum())] = 1
    return first, second, same


def _fitted(people: EncodedPeople, recipe: Recipe) -> Head:
    return uncalibrated_head(train(people, recipe), recipe, ("", ""))
