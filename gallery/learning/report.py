"""What training leaves behind: the head, its model card, and a picture of how it learned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from gallery.head import Head
from gallery.learning.encoded import EncodedPeople
from gallery.learning.people import PeopleFolder
from gallery.learning.training import Epoch, Halves, Recipe
from indexer.whole_file import written_whole

HEAD_FILE, CARD_FILE, PLOT_FILE = "head.safetensors", "head.json", "head-training.png"


def model_card(
    folder: PeopleFolder,
    people: EncodedPeople,
    halves: Halves,
    recipe: Recipe,
    history: Sequence[Epoch],
    head: Head,
) -> dict[str, Any]:
    """Everything a stranger needs to judge the head or to make it again."""
    marks = head.marks
    return {
        "encoder": {"name": marks.encoder, "weights_sha256": marks.encoder_sha256},
        "recipe": asdict(recipe),
        "source": {
            "folder": folder.root.resolve().name,
            "part": folder.part,
            "people": len(folder.people),
            "photos": folder.photos,
            "photos_without_a_usable_face": len(people.skipped),
        },
        "people": {
            "fitted": _counts(halves.fitted),
            "held_out": _counts(halves.held_out),
        },
        "held_out_result": {
            "validation_accuracy": round(history[-1].validation_accuracy, 4),
            "distance_threshold_accuracy": round(history[-1].distance_accuracy, 4),
            "pairs": "all of one person (40 at most a person), four times as many of two, 9 in 10"
            " of those among the 50 nearest; both kinds weigh the same",
        },
        "operating_curve": [
            {"false_match_rate": float(f"{10**rate:.3g}"), "margin": round(margin, 3)}
            for rate, margin in zip(
                marks.curve.log10_rates.tolist(), marks.curve.margins.tolist(), strict=True
            )
        ],
        "history": [
            {name: round(value, 5) for name, value in asdict(epoch).items()} for epoch in history
        ],
        "limits": [
            "The operating curve was measured on one source of photos; other sources have let more"
            " strangers through.",
            "Error rates differ between groups of people and kinds of photo.",
            "Rates below the curve's last are an extrapolation.",
        ],
    }


def _counts(people: EncodedPeople) -> dict[str, int]:
    return {"people": len(set(people.people.tolist())), "faces": len(people.vectors)}


def write_report(
    out: Path, head: Head, card: dict[str, Any], history: Sequence[Epoch]
) -> tuple[Path, Path, Path]:
    """Write head, card and plot into a folder, each at once or not at all. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    head_file, card_file, plot_file = (out / name for name in (HEAD_FILE, CARD_FILE, PLOT_FILE))
    head.save(head_file)
    with written_whole(card_file) as out_file:
        out_file.write((json.dumps(card, indent=2) + "\n").encode())
    with written_whole(plot_file) as out_file:
        plot_history(history, out_file)
    return head_file, card_file, plot_file


def plot_history(history: Sequence[Epoch], file: BinaryIO) -> None:
    """As PNG: loss and accuracy an epoch, the head beside the best distance threshold."""
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
    accuracies.set(
        title="Accuracy on hard pairs", xlabel="epoch", ylabel="right answers, both kinds alike, %"
    )
    accuracies.legend(frameon=False)
    thresholds = accuracies.twinx()
    thresholds.plot(
        numbers, [e.distance_threshold for e in history], ":", color="grey", linewidth=1
    )
    thresholds.set_ylabel("best distance threshold on training people", color="grey")
    thresholds.set_ylim(0.0, 1.2)
    figure.savefig(file, format="png", dpi=110)
