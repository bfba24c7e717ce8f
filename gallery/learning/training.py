"""Training the pairwise head on some people, watched on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from gallery.errors import TrainingDataTooSmall
from gallery.head import PairNetwork
from gallery.learning.encoded import EncodedPeople
from gallery.learning.pairs import Pairs, PairSampler
from gallery.learning.roc import balanced_accuracy, most_accurate_threshold
from gallery.types import Float32, Float64, Int64

LEAST_PEOPLE = 20
"""With fewer people of two or more photos there is nothing to learn or to hold out."""
HELD_OUT_SHARE = 0.3


@dataclass(frozen=True)
class Recipe:
    """How a head is trained; fixed beforehand, so that nothing is chosen on held-out people."""

    features: tuple[str, ...] = ("absolute_difference", "product")
    hidden: int = 512
    dropout: float = 0.5
    epochs: int = 15
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one epoch ended with; accuracies weigh both kinds of pair alike.

    distance_threshold : Euclidean distance that separates this epoch's training pairs best; and
        distance_accuracy : what that threshold gets on held-out people.
    """

    number: int
    training_loss: float
    training_accuracy: float
    validation_loss: float
    validation_accuracy: float
    distance_threshold: float
    distance_accuracy: float


@dataclass(frozen=True)
class Halves:
    """People to fit on and people held out; no one is in both."""

    fitted: EncodedPeople
    held_out: EncodedPeople


def divide(people: EncodedPeople, seed: int) -> Halves:
    """Seven tenths of the people to fit on, three tenths held out.

    Raises TrainingDataTooSmall when too few people have two or more photos.
    """
    numbers, photos = np.unique(people.people, return_counts=True)
    able = int((photos >= 2).sum())
    if able < LEAST_PEOPLE:
        raise TrainingDataTooSmall(
            f"{able} people have two or more photos with a face, at least {LEAST_PEOPLE} are"
            " needed; add people or photos"
        )
    # Both halves get their share of people with several photos, who alone make pairs of one person.
    rng = np.random.default_rng(seed)
    held_out: list[Int64] = []
    for group in (numbers[photos >= 2], numbers[photos < 2]):
        held_out.append(rng.permutation(group)[: round(HELD_OUT_SHARE * len(group))])
    apart = np.concatenate(held_out)
    return Halves(people.of(np.setdiff1d(numbers, apart)), people.of(apart))


def train(
    halves: Halves, recipe: Recipe, on_epoch: Callable[[Epoch], None] = lambda _: None
) -> tuple[PairNetwork, list[Epoch]]:
    """A network fitted with binary cross-entropy on one-hot (different, same), and its history.

    The same recipe and people give the same network on the same kind of machine.
    """
    rng = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    sampler = PairSampler(halves.fitted)
    watched = PairSampler(halves.held_out).draw(rng)
    vectors = torch.from_numpy(halves.fitted.vectors)
    network = PairNetwork(recipe.features, recipe.hidden, recipe.dropout)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
    history: list[Epoch] = []
    for number in range(1, recipe.epochs + 1):
        pairs = sampler.draw(rng)
        if number == 1:
            _standardise(network, vectors, pairs)
        network.train()
        for some in np.array_split(rng.permutation(len(pairs.same)), _batches(pairs, recipe)):
            logits = network(vectors[pairs.first[some]], vectors[pairs.second[some]])
            loss = _loss(logits, pairs, some)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
        history.append(_epoch(number, network, halves, pairs, watched))
        on_epoch(history[-1])
    return network.eval(), history


def _batches(pairs: Pairs, recipe: Recipe) -> int:
    return max(1, len(pairs.same) // recipe.batch)


def _loss(logits: torch.Tensor, pairs: Pairs, rows: Int64) -> torch.Tensor:
    one_hot = functional.one_hot(torch.from_numpy(pairs.same[rows]), 2).float()
    each = functional.binary_cross_entropy_with_logits(logits, one_hot, reduction="none")
    return (each.mean(dim=1) * torch.from_numpy(pairs.weights[rows])).mean()


def _standardise(network: PairNetwork, vectors: torch.Tensor, pairs: Pairs) -> None:
    with torch.no_grad():
        seen = network.describe(vectors[pairs.first], vectors[pairs.second])
        network.offset.copy_(seen.mean(dim=0))
        network.scale.copy_(seen.std(dim=0) + 1e-6)


def _epoch(
    number: int, network: PairNetwork, halves: Halves, pairs: Pairs, watched: Pairs
) -> Epoch:
    network.eval()
    training_loss, training_accuracy = _watch(network, halves.fitted.vectors, pairs)
    validation_loss, validation_accuracy = _watch(network, halves.held_out.vectors, watched)
    threshold = most_accurate_threshold(-_distances(halves.fitted.vectors, pairs), pairs.same)
    near = -_distances(halves.held_out.vectors, watched) >= threshold.value
    return Epoch(
        number=number,
        training_loss=training_loss,
        training_accuracy=training_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        distance_threshold=-threshold.value,
        distance_accuracy=balanced_accuracy(near, watched.same),
    )


def _watch(network: PairNetwork, vectors: Float32, pairs: Pairs) -> tuple[float, float]:
    """Loss and balanced accuracy of the plain argmax."""
    rows = torch.from_numpy(vectors)
    with torch.inference_mode():
        logits = network(rows[pairs.first], rows[pairs.second])
        loss = float(_loss(logits, pairs, np.arange(len(pairs.same))))
    says_same = (logits[:, 1] > logits[:, 0]).numpy()
    return loss, balanced_accuracy(says_same, pairs.same)


def _distances(vectors: Float32, pairs: Pairs) -> Float64:
    differences = vectors[pairs.first] - vectors[pairs.second]
    distances: Float64 = np.linalg.norm(differences, axis=1).astype(np.float64)
    return distances
