"""Choose the recipe of a head: large, or small for an encoder whose cosine is hard to beat."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gallery.errors import TrainingDataTooSmall
from gallery.training.calibrate import uncalibrated_head
from gallery.training.encode import EncodedPeople
from gallery.training.identification import found_share
from gallery.training.train import Recipe, halves, train

_RATE = 0.01


@dataclass(frozen=True)
class RecipeChoice:
    """The better recipe.

    found_by_size : the share of known people found at an FPIR of 1 %, by heads that were fitted on
        half of the people, on the other half; sizes are "large" and "small".
    """

    recipe: Recipe
    size: str
    found_by_size: dict[str, float]


def choose_recipe(people: EncodedPeople, seed: int, epochs: int | None = None) -> RecipeChoice:
    """Fit a head by each recipe on half of the people, and compare them on the other half.

    epochs : of both; None is each recipe's own.
    It is the large one, without a comparison, if there are too few people for it.
    """
    recipes = {"large": Recipe(seed=seed), "small": Recipe.small(seed)}
    if epochs is not None:
        recipes = {size: replace(recipe, epochs=epochs) for size, recipe in recipes.items()}
    try:
        first, second = (people.for_people(numbers) for numbers in halves(people, seed))
    except TrainingDataTooSmall:
        return RecipeChoice(recipes["large"], "large", {})
    found = {}
    for size, recipe in recipes.items():
        fitted = train(first, replace(recipe, networks=1))  # one is enough to compare
        head = uncalibrated_head(fitted, recipe, ("", ""))
        found[size] = found_share(head, second, rate=_RATE, seed=seed)
    best = max(found, key=lambda size: found[size])
    return RecipeChoice(recipes[best], best, found)
