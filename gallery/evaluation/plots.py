"""Pictures of a comparison: ROC, DET, precision-recall, DIR against FPIR, reliability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri
from sklearn.metrics import precision_recall_curve, roc_curve

from gallery.evaluation.comparison import Scored
from indexer.whole_file import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#c3cad3", "#5f6c7b", "#d08c3a", "#7b61a8", "#0b7a75")
_LINES = ((8.0, "-"), (4.5, "-"), (2.0, "-"), (2.0, "--"), (2.0, "-"))
_TICKS = (1e-4, 1e-3, 1e-2, 0.1, 0.3)


def save_plots(scored: Sequence[Scored], out: Path) -> list[Path]:
    """Each plot as PNG and SVG, into a folder. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for name, figure in figures_of(scored):
        for kind in ("png", "svg"):
            file = out / f"{name}.{kind}"
            with written_whole(file) as target:
                figure.savefig(target, format=kind, dpi=130)
            files.append(file)
    return files


def figures_of(scored: Sequence[Scored]) -> Iterator[tuple[str, Figure]]:
    """Up to five plots by name; reliability only of those that are calibrated."""
    from matplotlib.figure import Figure  # slow to import; only evaluations draw

    for name, draw in (
        ("roc", _roc),
        ("det", _det),
        ("precision-recall", _precision_recall),
        ("dir-fpir", _dir_fpir),
        ("reliability", _reliability),
    ):
        shown = [one for one in scored if draw is not _reliability or one.probabilities is not None]
        if not shown:
            continue
        figure = Figure(figsize=(7, 5.2), layout="constrained")
        axes = figure.subplots()
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        # Some lie exactly on each other: the grey ones are bands, with the dashes on them.
        for place, one in enumerate(shown):
            draw(axes, one, _COLOURS[place + len(_COLOURS) - len(shown)])
            width, style = _LINES[place + len(_LINES) - len(shown)]
            axes.lines[-1].set(linewidth=width, linestyle=style)
        axes.legend(frameon=False, fontsize=9)
        yield name, figure


def _roc(axes: Axes, one: Scored, colour: str) -> None:
    far, vr, _ = roc_curve(one.same, one.scores)
    axes.plot(np.maximum(far, 1e-5), vr, color=colour, label=one.said)
    axes.set(
        xscale="log",
        xlim=(1e-5, 1),
        ylim=(0.6, 1.005),
        title="Pairs: who is verified at which price (ROC)",
        xlabel="false-accept rate (FAR): pairs of two people accepted",
        ylabel="verification rate: pairs of one person accepted",
    )


def _det(axes: Axes, one: Scored, colour: str) -> None:
    far, vr, _ = roc_curve(one.same, one.scores)
    kept = (far > 1e-5) & (far < 0.5) & (vr < 1) & (vr > 0.5)
    axes.plot(ndtri(far[kept]), ndtri(1 - vr[kept]), color=colour, label=one.said)
    labels = [f"{t:g}" for t in _TICKS]
    axes.set_xticks(ndtri(_TICKS), labels)
    axes.set_yticks(ndtri(_TICKS), labels)
    axes.set(
        title="Pairs: both errors, on normal deviates (DET)",
        xlabel="false-accept rate",
        ylabel="false-reject rate",
    )


def _precision_recall(axes: Axes, one: Scored, colour: str) -> None:
    precision, recall, _ = precision_recall_curve(one.same, one.scores)
    axes.plot(recall, precision, color=colour, label=one.said)
    axes.set(
        xlim=(0.6, 1.005),
        ylim=(0.6, 1.005),
        title="Pairs: precision and recall",
        xlabel="recall",
        ylabel="precision",
    )


def _dir_fpir(axes: Axes, one: Scored, colour: str) -> None:
    strangers = np.sort(one.strangers)
    found = np.sort(one.found)
    rates = np.geomspace(1 / len(strangers), 1, 200)
    borders = strangers[np.maximum(len(strangers) - 1 - (rates * len(strangers)).astype(int), 0)]
    shares = 1 - np.searchsorted(found, borders, side="right") / len(found)
    axes.plot(rates, shares, color=colour, label=one.said)
    axes.set(
        xscale="log",
        ylim=(0, 1.01),
        title="A gallery: who is found while how many strangers are let in",
        xlabel="FPIR: strangers who get a name",
        ylabel="DIR: known people who are found",
    )


def _reliability(axes: Axes, one: Scored, colour: str) -> None:
    assert one.probabilities is not None
    bins = np.minimum((one.probabilities * 10).astype(int), 9)
    weights = np.where(one.same == 1, 1 / (one.same == 1).sum(), 1 / (one.same == 0).sum())
    heavy = np.bincount(bins, weights, 10)
    kept = heavy > 1e-3
    said = np.bincount(bins, one.probabilities * weights, 10)[kept] / heavy[kept]
    were = np.bincount(bins, one.same * weights, 10)[kept] / heavy[kept]
    axes.plot((0, 1), (0, 1), color="#cccccc", linewidth=1)
    axes.plot(said, were, "o-", color=colour, markersize=4, label=one.said)
    axes.set(
        title="Are the probabilities what they say?",
        xlabel="probability said",
        ylabel="share of pairs that were one person",
    )
