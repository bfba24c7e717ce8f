"""The files training writes: the head, its model card, and a plot of the training history."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from gallery.matching.head import Head
from gallery.package_data import CARD_FILE, HEAD_FILE, PLOT_FILE
from gallery.training.calibrate import TrainedHead
from gallery.training.choose_recipe import RecipeChoice
from gallery.training.cleaning import DuplicatePhotos
from gallery.training.dataset import PeopleFolder
from gallery.training.encode import EncodedPeople
from gallery.training.train import Epoch
from indexer.whole_file import atomic_write

LIMITS = (
    "Fitted on press photos of adults, mostly men of European descent; error rates differ between"
    " groups of people and kinds of photo.",
    "The operating point adapts to how alike the gallery's own people are. Strangers who are more"
    " alike than these may match more often than stated: run `gallery calibrate`.",
    "It does not adapt to queries of much worse, or much better, quality than the enrolled photos.",
    "Beyond 2,000 identities, and below the curve's last rate, the rate is extrapolated.",
)


def model_card(
    source: Mapping[str, Any],
    people: EncodedPeople,
    duplicates: DuplicatePhotos,
    trained: TrainedHead,
    choice: RecipeChoice,
    figures: dict[str, Any],
    encoder: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """The model card: everything needed to assess the head or to reproduce it.

    source : where the people come from, see source_of.
    figures : measured on the people the head was calibrated on.
    encoder : more about the encoder and its projection to 128 numbers.
    """
    metadata, recipe = trained.head.metadata, choice.recipe
    errata = source.get("errata", {}).get("files", ())
    return {
        "encoder": {"name": metadata.encoder, "weights_sha256": metadata.encoder_sha256, **encoder},
        "head_sha256": trained.head.sha256,
        "recipe": asdict(recipe),
        "known_found_by_recipe_at_fpir_0.01": {
            size: round(share, 4) for size, share in choice.found_by_size.items()
        },
        "reproduce": f"gallery train-head {source['folder']} --out DIR --seed {recipe.seed}"
        + (f" --encoder {encoder['spec']}" if encoder else "")
        + "".join(f" --errata {file}" for file in errata),
        "source": {
            **source,
            "photos_without_a_usable_face": len(people.skipped),
            "pictures_under_two_names": len(duplicates.across_people),
            "copies_left_out": len(duplicates.within_person),
            "photos_sha256": _photos_sha256(people),
        },
        "people": {
            "fitted": _counts(trained.fitted),
            "calibrated": _counts(trained.held_out),
        },
        "figures_on_calibration_people": figures,
        "cohort": f"at most {recipe.cohort} means of three or more people each, none a real face"
        if recipe.cohort
        else "none",
        "strangers": [
            {"false_match_rate": float(f"{10**rate:.3g}"), "margin": round(margin, 3)}
            for rate, margin in zip(
                metadata.calibration.strangers.log10_rates.tolist(),
                metadata.calibration.strangers.margins.tolist(),
                strict=True,
            )
        ],
        "history": [
            {name: round(value, 5) for name, value in asdict(epoch).items()}
            for epoch in trained.history
        ],
        "limits": list(LIMITS),
    }


def source_of(folder: PeopleFolder) -> dict[str, Any]:
    """The folder that the people come from."""
    return {
        "folder": folder.root.resolve().name,
        "part": folder.part,
        "people": len(folder.people),
        "photos": folder.photos,
    }


def _photos_sha256(people: EncodedPeople) -> str:
    """The SHA-256 of the photos' sorted SHA-256s."""
    return hashlib.sha256("\n".join(sorted(people.sha256)).encode()).hexdigest()


def _counts(people: EncodedPeople) -> dict[str, int]:
    return {"people": len(set(people.people.tolist())), "faces": len(people)}


def write_report(
    out: Path, head: Head, card: dict[str, Any], history: Sequence[Epoch], stem: str = "head"
) -> tuple[Path, Path, Path]:
    """Write head, card and plot into a folder, each atomically. Raises OSError.

    stem : replaces "head" at the start of their names.
    """
    out.mkdir(parents=True, exist_ok=True)
    head_file, card_file, plot_file = (
        out / name.replace("head", stem, 1) for name in (HEAD_FILE, CARD_FILE, PLOT_FILE)
    )
    head.save(head_file)
    with atomic_write(card_file) as out_file:
        out_file.write((json.dumps(card, indent=2) + "\n").encode())
    with atomic_write(plot_file) as out_file:
        plot_history(history, out_file)
    return head_file, card_file, plot_file


def plot_history(history: Sequence[Epoch], file: BinaryIO) -> None:
    """Plot loss and accuracy by epoch as PNG, with the best distance threshold."""
    from matplotlib.figure import Figure  # slow to import; only training draws

    numbers = [e.number for e in history]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    losses.plot(numbers, [e.training_loss for e in history], label="training people")
    losses.plot(numbers, [e.validation_loss for e in history], label="held-out people")
    losses.set(title="Loss", xlabel="epoch", ylabel="binary cross-entropy")
    losses.legend(frameon=False)
    for label, values, style in (
        ("head, training people", [e.training_accuracy for e in history], "-"),
        ("head, held-out people", [e.validation_accuracy for e in history], "-"),
        ("distance threshold, held-out people", [e.distance_accuracy for e in history], "--"),
    ):
        accuracies.plot(numbers, [100 * v for v in values], style, label=label)
    accuracies.set(title="Accuracy on hard pairs", xlabel="epoch", ylabel="balanced accuracy, %")
    accuracies.legend(frameon=False)
    thresholds = accuracies.twinx()
    thresholds.plot(
        numbers, [e.distance_threshold for e in history], ":", color="grey", linewidth=1
    )
    thresholds.set_ylabel("best distance threshold on training people", color="grey")
    thresholds.set_ylim(0.0, 1.2)
    figure.savefig(file, format="png", dpi=110)
