"""Training the pairwise head on some people, watched on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from gallery.errors import TrainingDataTooSmall
from gallery.matching.cohort import NEAREST, Cohort
from gallery.matching.head import DIFFERENT, SAME, PairNetwork, sides_of
from gallery.matching.templates import fused
from gallery.training.encode import EncodedPeople
from gallery.training.pairs import Pairs, PairSampler
from gallery.training.statistics import balanced_accuracy, most_accurate_threshold
from gallery.types import Bool, Float32, Float64, Int64

LEAST_PEOPLE = 20
"""With fewer people of two or more photos there is nothing to learn or to hold out."""
_LEAST_FACES_A_CENTRE = 3
_LEAST_PEOPLE_A_CENTRE = 3


@dataclass(frozen=True)
class Recipe:
    """How a head is trained; chosen on people among those it learns from, never on others."""

    features: tuple[str, ...] = ("cosine", "standing", "norm", "agreement")
    hidden: int = 512
    dropout: float = 0.5
    epochs: int = 15
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    networks: int = 3
    cohort: int = 300
    enrolled_share: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one epoch of one network ended with; accuracies weigh both kinds of pair alike.

    distance_threshold : Euclidean distance that separates this epoch's training pairs best; and
        distance_accuracy : what that threshold gets on the people watched.
    """

    number: int
    training_loss: float
    training_accuracy: float
    validation_loss: float
    validation_accuracy: float
    distance_threshold: float
    distance_accuracy: float


@dataclass(frozen=True)
class Fitted:
    """What training makes."""

    cohort: Cohort
    networks: tuple[PairNetwork, ...]
    history: tuple[Epoch, ...]


def halves(people: EncodedPeople, seed: int) -> tuple[Int64, Int64]:
    """The people's numbers in two halves, each with its share of those with several photos.

    Raises TrainingDataTooSmall when too few people have two or more photos.
    """
    numbers, photos = np.unique(people.people, return_counts=True)
    able = int((photos >= 2).sum())
    if able < LEAST_PEOPLE:
        raise TrainingDataTooSmall(
            f"{able} people have two or more photos with a face, at least {LEAST_PEOPLE} are"
            f" needed; add photos of {LEAST_PEOPLE - able} more people, two or more of each"
        )
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(numbers[photos >= 2]), rng.permutation(numbers[photos < 2])]
    )
    return np.sort(order[::2]), np.sort(order[1::2])


def cohort_of(people: EncodedPeople, size: int, seed: int) -> Cohort:
    """Means of alike people; fewer when each would be of too few faces.

    The faces are put into k clusters. A centre is the mean of its cluster's people, each of whom
    weighs the same; to a cluster of fewer than three people the nearest others are added. So no
    centre is anybody's face.
    """
    size = max(NEAREST, min(size, len(people) // _LEAST_FACES_A_CENTRE))
    if len(people) < size:
        raise TrainingDataTooSmall(f"{len(people)} photos with a face, at least {size} are needed")
    means = KMeans(size, n_init=1, max_iter=15, random_state=seed).fit(people.enrolled.vectors)
    each = fused(people.people, people.enrolled)
    vectors = each.encodings.vectors
    centres = np.zeros((size, vectors.shape[1]), dtype=np.float32)
    for cluster in range(size):
        inside = np.isin(each.identity_ids, people.people[means.labels_ == cluster])
        nearness = vectors @ vectors[inside].mean(axis=0) + 3.0 * inside
        count = max(_LEAST_PEOPLE_A_CENTRE, int(inside.sum()))
        centres[cluster] = vectors[np.argsort(-nearness, kind="stable")[:count]].mean(axis=0)
    return Cohort(centres / np.linalg.norm(centres, axis=1, keepdims=True))


def train(
    people: EncodedPeople,
    recipe: Recipe,
    watched: EncodedPeople | None = None,
    on_epoch: Callable[[int, int], None] = lambda _done, _all: None,
) -> Fitted:
    """Networks fitted with binary cross-entropy on one-hot (different, same).

    watched : people the first network's history is measured on; no history without them.
    The same recipe and people give the same networks on the same kind of machine.
    """
    cohort = cohort_of(people, recipe.cohort, recipe.seed)
    networks: list[PairNetwork] = []
    history: list[Epoch] = []
    for member in range(recipe.networks):
        one = _Training(people, cohort, recipe, recipe.seed + member)
        for number in range(1, recipe.epochs + 1):
            pairs = one.epoch()
            if watched is not None and member == 0:
                history.append(_epoch(number, one, pairs, watched))
            on_epoch(member * recipe.epochs + number, recipe.networks * recipe.epochs)
        networks.append(one.network.eval())
    return Fitted(cohort, tuple(networks), tuple(history))


class _Training:
    """One network on its way."""

    def __init__(self, people: EncodedPeople, cohort: Cohort, recipe: Recipe, seed: int) -> None:
        self.people, self.cohort, self.recipe = people, cohort, recipe
        self.rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self._sampler = PairSampler(people)
        self.sides = both_sides(people, cohort)
        self.network = PairNetwork(recipe.features, recipe.hidden, recipe.dropout)
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, recipe.epochs)
        self._begun = False

    def epoch(self) -> Pairs:
        """Train on freshly drawn pairs, and give them back."""
        pairs = self._sampler.draw(self.rng)
        enrolled = self.rng.random(len(pairs.same)) < self.recipe.enrolled_share
        if not self._begun:
            self._standardise(pairs, enrolled)
        self.network.train()
        order = self.rng.permutation(len(pairs.same))
        for some in np.array_split(order, max(1, len(order) // self.recipe.batch)):
            a, b = gathered(self.sides, pairs, enrolled, some)
            loss = _loss(self.network(a, b), pairs, some)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        self._schedule.step()
        self.network.eval()
        return pairs

    def _standardise(self, pairs: Pairs, enrolled: Bool) -> None:
        self._begun = True
        with torch.no_grad():
            a, b = gathered(self.sides, pairs, enrolled, np.arange(len(pairs.same)))
            seen = self.network.describe(a, b)
            self.network.offset.copy_(seen.mean(dim=0))
            self.network.scale.copy_(seen.std(dim=0) + 1e-6)


def both_sides(people: EncodedPeople, cohort: Cohort) -> tuple[Tensor, Tensor]:
    """The people's faces as probes and as enrolled, float32 (n, SIDE_WIDTH) each."""
    probes, enrolled = (sides_of(cohort, e) for e in (people.probes, people.enrolled))
    return torch.from_numpy(probes), torch.from_numpy(enrolled)


def gathered(
    sides: tuple[Tensor, Tensor], pairs: Pairs, enrolled: Bool, rows: Int64
) -> tuple[Tensor, Tensor]:
    """These pairs' two sides: the first a probe, the second a probe or enrolled."""
    second = torch.from_numpy(pairs.second[rows])
    b = torch.where(torch.from_numpy(enrolled[rows])[:, None], sides[1][second], sides[0][second])
    return sides[0][torch.from_numpy(pairs.first[rows])], b


def _loss(logits: Tensor, pairs: Pairs, rows: Int64) -> Tensor:
    one_hot = functional.one_hot(torch.from_numpy(pairs.same[rows]), 2).float()
    each = functional.binary_cross_entropy_with_logits(logits, one_hot, reduction="none")
    return (each.mean(dim=1) * torch.from_numpy(pairs.weights[rows])).mean()


def _epoch(number: int, one: _Training, pairs: Pairs, watched: EncodedPeople) -> Epoch:
    unseen = PairSampler(watched).draw(np.random.default_rng(one.recipe.seed))
    losses, accuracies, distances = [], [], []
    for people, some in ((one.people, pairs), (watched, unseen)):
        sides = both_sides(people, one.cohort)
        everything = np.arange(len(some.same))
        with torch.inference_mode():
            a, b = gathered(sides, some, np.ones(len(some.same), dtype=np.bool_), everything)
            logits = one.network(a, b)
            losses.append(float(_loss(logits, some, everything)))
        says_same = (logits[:, SAME] > logits[:, DIFFERENT]).numpy()
        accuracies.append(balanced_accuracy(says_same, some.same))
        distances.append(_distances(people.probes.vectors, some))
    threshold = most_accurate_threshold(-distances[0], pairs.same)
    near = -distances[1] >= threshold.value
    return Epoch(
        number=number,
        training_loss=losses[0],
        training_accuracy=accuracies[0],
        validation_loss=losses[1],
        validation_accuracy=accuracies[1],
        distance_threshold=-threshold.value,
        distance_accuracy=balanced_accuracy(near, unseen.same),
    )


def _distances(vectors: Float32, pairs: Pairs) -> Float64:
    differences = vectors[pairs.first] - vectors[pairs.second]
    distances: Float64 = np.linalg.norm(differences, axis=1).astype(np.float64)
    return distances
