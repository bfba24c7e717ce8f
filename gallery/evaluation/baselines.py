"""Five ways to decide on one pair of encodings, made on the same people and compared.

a  euclidean, the most accurate threshold
b  euclidean, the threshold read off the ROC curve for a false-accept rate
c  siamese: a projection of the encodings trained with contrastive loss, then (b)'s rule
d  distance-head: Euclidean distance, Dense 512, dropout, two sigmoids, argmax
e  head: ours
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from gallery.matching.head import Head, HeadMarks
from gallery.training.calibrate import NO_CALIBRATION
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
    """Scores pairs; higher is likelier the same person."""

    name: str
    said: str
    threshold: float = 0.0
    """A score above it says "same"."""
    _scale: tuple[float, float] | None = None

    @abstractmethod
    def scores(self, a: Encodings, b: Encodings) -> Float64:
        """Row by row, (n,)."""

    def cross(self, probes: Encodings, enrolled: Encodings) -> Float32:
        """Every probe against everyone enrolled, float32 (p, g).

        Only each probe's fifty nearest by cosine are scored, as in a gallery; the others are -inf.
        """
        cosines = probes.vectors @ enrolled.vectors.T
        keep = min(_SHORTLIST, len(enrolled))
        near = np.argpartition(-cosines, keep - 1, axis=1)[:, :keep]
        rows = np.repeat(np.arange(len(probes)), keep)
        scores = np.full(cosines.shape, -np.inf, dtype=np.float32)
        scores[rows, near.ravel()] = self.scores(probes.take(rows), enrolled.take(near.ravel()))
        return scores

    @property
    def calibrated(self) -> bool:
        return self._scale is not None

    def probabilities(self, scores: Float64) -> Float64:
        """Of the same person, were both kinds of pair as frequent: (n,) -> (n,).

        Only once calibrated.
        """
        found: Float64 = expit(self.log_odds(scores))
        return found

    def log_odds(self, scores: Float64) -> Float64:
        """Of the probabilities, (n,) -> (n,)."""
        assert self._scale is not None
        offset, slope = self._scale
        return offset + slope * scores

    def calibrate(self, scores: Float64, same: Int64) -> None:
        """Fit the probabilities (Platt) on pairs of people that are in no test."""
        fitted = LogisticRegression(C=1e6, class_weight="balanced").fit(scores[:, None], same)
        self._scale = float(fitted.intercept_[0]), float(fitted.coef_[0, 0])


def raw(encodings: Encodings) -> Float32:
    """As long as the network gave them, (n, 128)."""
    return encodings.vectors * encodings.norms[:, None]


class Euclidean(Decider):
    """(a) and (b)."""

    def __init__(self, name: str = "euclidean", said: str = "Euclidean distance") -> None:
        self.name, self.said = name, said

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        distances: Float64 = np.linalg.norm(raw(a) - raw(b), axis=1).astype(np.float64)
        return -distances


class Cosine(Decider):
    """For comparison."""

    name, said = "cosine", "cosine"

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        cosines: Float64 = np.einsum("ij,ij->i", a.vectors, b.vectors).astype(np.float64)
        return cosines


class Siamese(Decider):
    """(c): the distance of learned projections."""

    name, said = "siamese", "projection, contrastive loss"

    def __init__(self, people: EncodedPeople, seed: int) -> None:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        self._project = nn.Linear(DIMENSION, _SIAMESE_WIDTH)
        optimiser = torch.optim.AdamW(self._project.parameters(), lr=1e-3, weight_decay=1e-3)
        sampler, rows = PairSampler(people), torch.from_numpy(raw(people.probes))
        for _ in range(_SIAMESE_EPOCHS):
            pairs = sampler.draw(rng)
            order = rng.permutation(len(pairs.same))
            for some in np.array_split(order, max(1, len(order) // 512)):
                loss = self._loss(rows, pairs, some)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()

    def _loss(self, rows: Tensor, pairs: Pairs, some: Int64) -> Tensor:
        a, b = self._project(rows[pairs.first[some]]), self._project(rows[pairs.second[some]])
        distance = (a - b).square().sum(dim=1).add(1e-9).sqrt()
        same = torch.from_numpy(pairs.same[some]).float()
        apart = (_CONTRASTIVE_MARGIN - distance).clamp(min=0).square()
        each = same * distance.square() + (1 - same) * apart
        loss: Tensor = (each * torch.from_numpy(pairs.weights[some])).mean()
        return loss

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        with torch.inference_mode():
            first, second = (self._project(torch.from_numpy(raw(e))) for e in (a, b))
            distances: Float64 = (first - second).norm(dim=1).numpy().astype(np.float64)
        return -distances


class Headed(Decider):
    """(d) and (e): a head's margin; its argmax is the verdict."""

    def __init__(self, head: Head, name: str, said: str) -> None:
        self.head, self.name, self.said = head, name, said

    def scores(self, a: Encodings, b: Encodings) -> Float64:
        return self.head.margins(self.head.sides(a), self.head.sides(b)).astype(np.float64)


def our_head(people: EncodedPeople, recipe: Recipe) -> Headed:
    """(e), fitted on all of these people."""
    return Headed(_fitted(people, recipe), "head", "our head")


def distance_head(people: EncodedPeople, seed: int) -> Headed:
    """(d), as first described."""
    recipe = replace(Recipe(), features=("distance",), networks=1, seed=seed)
    said = "distance, Dense 512, dropout, two sigmoids"
    return Headed(_fitted(people, recipe), "distance-head", said)


def five(people: EncodedPeople, ours: Decider, seed: int) -> list[Decider]:
    """All five, with thresholds and probabilities set on these people's pairs."""
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
        elif not isinstance(decider, Headed):
            strangers = -np.sort(-scores[same == 0])
            decider.threshold = float(strangers[int(TARGET_FAR * len(strangers))])
    return deciders


def random_pairs(people: EncodedPeople, seed: int) -> tuple[Int64, Int64, Int64]:
    """Rows of pairs of two people, all or 200,000 random ones, and up to 40 pairs of each person.

    first, second, same : int64 (p,) each.
    """
    rng = np.random.default_rng(seed)
    drawn = PairSampler(people).draw(rng)
    positive = drawn.same == 1
    if len(people) * (len(people) - 1) // 2 <= _PAIRS:
        a, b = np.triu_indices(len(people), k=1)
    else:
        a, b = rng.integers(0, len(people), (2, _PAIRS))
    apart = people.people[a] != people.people[b]
    first = np.concatenate([drawn.first[positive], a[apart]])
    second = np.concatenate([drawn.second[positive], b[apart]])
    same = np.zeros(len(first), dtype=np.int64)
    same[: int(positive.sum())] = 1
    return first, second, same


def _fitted(people: EncodedPeople, recipe: Recipe) -> Head:
    fitted = train(people, recipe)
    marks = HeadMarks("", "", recipe.features, recipe.hidden, NO_CALIBRATION)
    return Head(fitted.cohort, fitted.networks, marks)
