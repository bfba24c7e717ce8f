"""Plots of a comparison: ROC, DET, precision-recall, DIR against FPIR, reliability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri
from sklearn.metrics import precision_recall_curve, roc_curve

from gallery.evaluation.comparison import DeciderScores
from indexer.whole_file import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#c3cad3", "#5f6c7b", "#d08c3a", "#7b61a8", "#0b7a75")
_LINES = ((8.0, "-"), (4.5, "-"), (2.0, "-"), (2.0, "--"), (2.0, "-"))
_TICKS = (1e-4, 1e-3, 1e-2, 0.1, 0.3)


def save_plots(scored: Sequence[DeciderScores], out: Path) -> list[Path]:
    """Write each plot as PNG and SVG into a folder; return the files. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for name, figure in figures_of(scored):
        for kind in ("png", "svg"):
            file = out / f"{name}.{kind}"
            with atomic_write(file) as target:
                figure.savefig(target, format=kind, dpi=130)
            files.append(file)
    return files


def figures_of(scored: Sequence[DeciderScores]) -> Iterator[tuple[str, Figure]]:
    """Draw up to five plots, by name; reliability only of calibrated deciders."""
    from matplotlib.figure import Figure  # slow to import; only evaluations draw

    for name, draw in (
        ("roc", _roc),
        ("det", _det),
        ("precision-recall", _precision_recall),
        ("dir-fpir", _dir_fpir),
        ("reliability", _reliability),
    ):
        shown = [s for s in scored if draw is not _reliability or s.probabilities is not None]
        if not shown:
            continue
        figure = Figure(figsize=(7, 5.2), layout="constrained")
        axes = figure.subplots()
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        # Some curves coincide: the grey ones are drawn as bands, with the others on top.
        colours, lines = _COLOURS[-len(shown) :], _LINES[-len(shown) :]
        for scores, colour, (width, style) in zip(shown, colours, lines, strict=True):
            draw(axes, scores, colour)
            axes.lines[-1].set(linewidth=width, linestyle=style)
        axes.legend(frameon=False, fontsize=9)
        yield name, figure


def _roc(axes: Axes, scores: DeciderScores, colour: str) -> None:
    far, vr, _ = roc_curve(scores.same, scores.scores)
    axes.plot(np.maximum(far, 1e-5), vr, color=colour, label=scores.label)
    axes.set(
        xscale="log",
        xlim=(1e-5, 1),
        ylim=(0.6, 1.005),
        title="Verification: ROC",
        xlabel="false-accept rate (FAR): share of pairs of two people accepted",
        ylabel="verification rate: share of pairs of one person accepted",
    )


def _det(axes: Axes, scores: DeciderScores, colour: str) -> None:
    far, vr, _ = roc_curve(scores.same, scores.scores)
    in_range = (far > 1e-5) & (far < 0.5) & (vr < 1) & (vr > 0.5)
    axes.plot(ndtri(far[in_range]), ndtri(1 - vr[in_range]), color=colour, label=scores.label)
    labels = [f"{t:g}" for t in _TICKS]
    axes.set_xticks(ndtri(_TICKS), labels)
    axes.set_yticks(ndtri(_TICKS), labels)
    axes.set(
        title="Verification: DET, on normal deviates",
        xlabel="false-accept rate",
        ylabel="false-reject rate",
    )


def _precision_recall(axes: Axes, scores: DeciderScores, colour: str) -> None:
    precision, recall, _ = precision_recall_curve(scores.same, scores.scores)
    axes.plot(recall, precision, color=colour, label=scores.label)
    axes.set(
        xlim=(0.6, 1.005),
        ylim=(0.6, 1.005),
        title="Verification: precision and recall",
        xlabel="recall",
        ylabel="precision",
    )


def _dir_fpir(axes: Axes, scores: DeciderScores, colour: str) -> None:
    strangers = np.sort(scores.strangers)
    known = np.sort(scores.known)
    rates = np.geomspace(1 / len(strangers), 1, 200)
    thresholds = strangers[np.maximum(len(strangers) - 1 - (rates * len(strangers)).astype(int), 0)]
    shares = 1 - np.searchsorted(known, thresholds, side="right") / len(known)
    axes.plot(rates, shares, color=colour, label=scores.label)
    axes.set(
        xscale="log",
        ylim=(0, 1.01),
        title="Identification: DIR against FPIR",
        xlabel="FPIR: share of strangers with a match",
        ylabel="DIR: share of known people found",
    )


def _reliability(axes: Axes, scores: DeciderScores, colour: str) -> None:
    assert scores.probabilities is not None
    bins = np.minimum((scores.probabilities * 10).astype(int), 9)
    weights = np.where(scores.same == 1, 1 / (scores.same == 1).sum(), 1 / (scores.same == 0).sum())
    bin_weights = np.bincount(bins, weights, 10)
    used = bin_weights > 1e-3
    predicted = np.bincount(bins, scores.probabilities * weights, 10)[used] / bin_weights[used]
    observed = np.bincount(bins, scores.same * weights, 10)[used] / bin_weights[used]
    axes.plot((0, 1), (0, 1), color="#cccccc", linewidth=1)
    axes.plot(predicted, observed, "o-", color=colour, markersize=4, label=scores.label)
    axes.set(
        title="Reliability of the probabilities",
        xlabel="predicted probability",
        ylabel="share of pairs of one person",
    )
