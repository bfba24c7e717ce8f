"""Train the networks of a pairwise head on some people, and validate on others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from gallery.errors import TrainingDataTooSmall
from gallery.matching.cohort import NEAREST, Cohort
from gallery.matching.dense_network import DenseNetwork
from gallery.matching.head import DIFFERENT, SAME
from gallery.matching.pair_features import features_width, pair_features, sides_of
from gallery.matching.templates import fuse_templates
from gallery.progress import Progress, no_progress
from gallery.training.encode import EncodedPeople
from gallery.training.pair_network import PairNetwork
from gallery.training.pairs import Pairs, PairSampler
from gallery.training.statistics import balanced_accuracy, most_accurate_threshold
from gallery.types import Bool, Float32, Float64, Int64

MIN_PEOPLE = 20
"""People with two or more photos; fewer cannot be split into training and held-out people."""
_MIN_FACES_PER_CENTRE = 3
_MIN_PEOPLE_PER_CENTRE = 3


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters; chosen by validation within the training people only.

    hard_neighbours : a hard negative is one of this many nearest faces of other people.
    negative_weight : total weight of the pairs of two people, over that of the pairs of one. A high
        weight moves the fit to where strangers are rarely matched.
    """

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
    hard_neighbours: int = 50
    negative_weight: float = 1.0
    seed: int = 0

    @classmethod
    def small(cls, seed: int) -> Recipe:
        """For an encoder whose cosine is hard to beat: no hidden layer, and no cohort."""
        return cls(
            features=("cosine", "mean_norm"),
            hidden=0,
            dropout=0.0,
            learning_rate=1e-2,
            weight_decay=0.0,
            networks=1,
            cohort=0,
            hard_neighbours=1,
            negative_weight=30.0,
            seed=seed,
        )


@dataclass(frozen=True)
class Epoch:
    """Metrics after one epoch of one network; accuracies are balanced.

    distance_threshold : the most accurate Euclidean distance on this epoch's training pairs.
    distance_accuracy : of that threshold, on the validation people.
    """

    number: int
    training_loss: float
    training_accuracy: float
    validation_loss: float
    validation_accuracy: float
    distance_threshold: float
    distance_accuracy: float


@dataclass(frozen=True)
class FittedNetworks:
    """The result of training.  history : of the first network, if there are validation people."""

    cohort: Cohort | None
    networks: tuple[DenseNetwork, ...]
    history: tuple[Epoch, ...]


def halves(people: EncodedPeople, seed: int) -> tuple[Int64, Int64]:
    """Split the people's numbers into two halves, alike in how many have several photos.

    Raises TrainingDataTooSmall if too few people have two or more photos.
    """
    numbers, photos = np.unique(people.people, return_counts=True)
    usable = int((photos >= 2).sum())
    if usable < MIN_PEOPLE:
        raise TrainingDataTooSmall(
            f"{usable} people have two or more photos with a face, at least {MIN_PEOPLE} are"
            f" needed; add photos of {MIN_PEOPLE - usable} more people, two or more of each"
        )
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(numbers[photos >= 2]), rng.permutation(numbers[photos < 2])]
    )
    return np.sort(order[::2]), np.sort(order[1::2])


def cohort_of(people: EncodedPeople, size: int, seed: int) -> Cohort:
    """Build a cohort of `size` means of similar people, or fewer if there are too few faces.

    The faces are clustered by k-means. A centre is the mean over its cluster's people, each with
    the same weight; a cluster of fewer than three people also gets the nearest others, so that no
    centre is a real person's face.
    """
    size = max(NEAREST, min(size, len(people) // _MIN_FACES_PER_CENTRE))
    if len(people) < size:
        raise TrainingDataTooSmall(f"{len(people)} photos with a face, at least {size} are needed")
    clusters = KMeans(size, n_init=1, max_iter=15, random_state=seed).fit(people.enrolled.vectors)
    templates = fuse_templates(people.people, people.enrolled)
    vectors = templates.encodings.vectors
    centres = np.zeros((size, vectors.shape[1]), dtype=np.float32)
    for cluster in range(size):
        is_member = np.isin(templates.identity_ids, people.people[clusters.labels_ == cluster])
        # Cosines are at most 1, so members come before all others.
        similarity = vectors @ vectors[is_member].mean(axis=0) + 3.0 * is_member
        count = max(_MIN_PEOPLE_PER_CENTRE, int(is_member.sum()))
        centres[cluster] = vectors[np.argsort(-similarity, kind="stable")[:count]].mean(axis=0)
    return Cohort(centres / np.linalg.norm(centres, axis=1, keepdims=True))


def train(
    people: EncodedPeople,
    recipe: Recipe,
    validation: EncodedPeople | None = None,
    progress: Progress = no_progress,
) -> FittedNetworks:
    """Fit the networks with binary cross-entropy on one-hot targets (different, same).

    validation : people to measure the first network's history on; None: no history.
    The same recipe and people give the same networks on the same kind of machine.
    """
    cohort = cohort_of(people, recipe.cohort, recipe.seed) if recipe.cohort else None
    networks: list[DenseNetwork] = []
    history: list[Epoch] = []
    for member in range(recipe.networks):
        training = _NetworkTraining(people, cohort, recipe, recipe.seed + member)
        for number in range(1, recipe.epochs + 1):
            pairs = training.epoch()
            if validation is not None and member == 0:
                history.append(_epoch(number, training, pairs, validation))
            progress(member * recipe.epochs + number, recipe.networks * recipe.epochs)
        networks.append(training.network.dense_network())
    return FittedNetworks(cohort, tuple(networks), tuple(history))


class _NetworkTraining:
    """One network in training."""

    def __init__(
        self, people: EncodedPeople, cohort: Cohort | None, recipe: Recipe, seed: int
    ) -> None:
        self.people, self.cohort, self.recipe = people, cohort, recipe
        self.rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self._sampler = PairSampler(people, recipe.hard_neighbours)
        self.sides = sides_of_people(people, cohort)
        self.network = PairNetwork(features_width(recipe.features), recipe.hidden, recipe.dropout)
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, recipe.epochs)
        self._is_standardised = False
        # Added in training, so that the logits alone are those of as many pairs of two people as
        # of one, whatever the weight.
        log_weight = float(np.log(recipe.negative_weight))
        self._prior = torch.tensor([log_weight, -log_weight])

    def epoch(self) -> Pairs:
        """Train for one epoch on freshly drawn pairs; return the pairs."""
        pairs = self._sampler.draw(self.rng)
        weights = np.where(pairs.same == 1, 1.0, self.recipe.negative_weight)
        weighted = replace(pairs, weights=(pairs.weights * weights).astype(np.float32))
        enrolled = self.rng.random(len(pairs.same)) < self.recipe.enrolled_share
        if not self._is_standardised:
            self._standardise(pairs, enrolled)
        self.network.train()
        order = self.rng.permutation(len(pairs.same))
        for batch in np.array_split(order, max(1, len(order) // self.recipe.batch)):
            features = self.features(self.sides, pairs, enrolled, batch)
            loss = _loss(self.network(features) + self._prior, weighted, batch)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        self._schedule.step()
        self.network.eval()
        return pairs

    def _standardise(self, pairs: Pairs, enrolled: Bool) -> None:
        self._is_standardised = True
        with torch.no_grad():
            features = self.features(self.sides, pairs, enrolled, np.arange(len(pairs.same)))
            self.network.offset.copy_(features.mean(dim=0))
            self.network.scale.copy_(features.std(dim=0) + 1e-6)

    def features(
        self, sides: tuple[Float32, Float32], pairs: Pairs, enrolled: Bool, rows: Int64
    ) -> Tensor:
        """The features of some pairs of a probe and a second face, float32 (r, width).

        sides : see sides_of_people.
        enrolled : whether the second face is an enrolled one, or a probe as well, bool (p,).
        rows : of the pairs, int64 (r,).
        """
        probes, enrolled_sides = sides
        second = pairs.second[rows]
        b = np.where(enrolled[rows, None], enrolled_sides[second], probes[second])
        return torch.from_numpy(pair_features(self.recipe.features, probes[pairs.first[rows]], b))


def sides_of_people(people: EncodedPeople, cohort: Cohort | None) -> tuple[Float32, Float32]:
    """The people's faces as probes and as enrolled, float32 (n, SIDE_WIDTH) each."""
    return sides_of(cohort, people.probes), sides_of(cohort, people.enrolled)


def _loss(logits: Tensor, pairs: Pairs, rows: Int64) -> Tensor:
    one_hot = functional.one_hot(torch.from_numpy(pairs.same[rows]), 2).float()
    losses = functional.binary_cross_entropy_with_logits(logits, one_hot, reduction="none")
    return (losses.mean(dim=1) * torch.from_numpy(pairs.weights[rows])).mean()


def _epoch(
    number: int, training: _NetworkTraining, pairs: Pairs, validation: EncodedPeople
) -> Epoch:
    rng = np.random.default_rng(training.recipe.seed)
    validation_pairs = PairSampler(validation).draw(rng)
    losses, accuracies, distances = [], [], []
    for people, drawn in ((training.people, pairs), (validation, validation_pairs)):
        sides = sides_of_people(people, training.cohort)
        rows = np.arange(len(drawn.same))
        with torch.inference_mode():
            enrolled = np.ones(len(rows), dtype=np.bool_)
            logits = training.network(training.features(sides, drawn, enrolled, rows))
            losses.append(float(_loss(logits, drawn, rows)))
        says_same = (logits[:, SAME] > logits[:, DIFFERENT]).numpy()
        accuracies.append(balanced_accuracy(says_same, drawn.same))
        distances.append(_distances(people.probes.vectors, drawn))
    threshold = most_accurate_threshold(-distances[0], pairs.same)
    says_same = -distances[1] >= threshold.value
    return Epoch(
        number=number,
        training_loss=losses[0],
        training_accuracy=accuracies[0],
        validation_loss=losses[1],
        validation_accuracy=accuracies[1],
        distance_threshold=-threshold.value,
        distance_accuracy=balanced_accuracy(says_same, validation_pairs.same),
    )


def _distances(vectors: Float32, pairs: Pairs) -> Float64:
    differences = vectors[pairs.first] - vectors[pairs.second]
    distances: Float64 = np.linalg.norm(differences, axis=1).astype(np.float64)
    return distances
