"""Photos a second, from file to answer, beside peers in the same run.

    python -m tests.bench.photos LFW --groups GROUPS --out data/results/photos.json

Sets: photos of LFW, 250 pixels wide; a folder of photos of groups, shrunk to 1280 pixels; and the
same at their own size. Ours: a query of every face in a photo (`query_all`; on two cores
`query_many`), in a gallery of drawn people, and the reading of a bulk enrolment, in each runtime
that is installed (openvino: with the encoder in bfloat16). The peers are facenet-pytorch as its
README shows it, the same with all faces of 40 pixels and more, and face_recognition's calls of
dlib.

Each contender is a process that is pinned to one core, then to two, with as many threads. Round by
round they read the same photos in turns, after they were loaded. Worker processes are measured in
the second half of a turn, when they have started. Each ratio is that of one round: its median, and
its range over the rounds. "others had" is the share of the cores' time that other programs used:
with much of it, "photos/CPU s" says more than "photos/s". Then, on one core, where the time of a
query goes.

Everything takes some ten minutes on two cores; --quick two. It is for Linux.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from gallery import Gallery
from tests.bench.photos import report, turns
from tests.bench.photos.sets import SHRUNK, PhotoSet, draw, drawn_from, prepared, shrunk

RUNTIMES = ("onnx", "torch", "openvino")


def sets_of(arguments: argparse.Namespace, probes: list[Path], folder: Path) -> list[PhotoSet]:
    sets = [
        prepared(
            "LFW, 250 px",
            probes,
            folder / "lfw",
            rounds=arguments.rounds,
            least=turns.MANY,
            is_long=False,
        )
    ]
    if arguments.groups is not None:
        groups = drawn_from(arguments.groups, arguments.group_photos, arguments.seed)
        for name, photos in (
            (f"groups, {SHRUNK} px", shrunk(groups, folder / "small")),
            ("groups, own size", groups),
        ):
            sets.append(
                prepared(
                    name,
                    photos,
                    folder / name,
                    rounds=arguments.group_rounds,
                    least=turns.MANY_LONG,
                    is_long=True,
                )
            )
    return sets


def entries_of(arguments: argparse.Namespace, cores: int) -> list[turns.Entry]:
    ours = [
        turns.Entry(kind, runtime, cores)
        for kind in ("query", "enrolment")
        for runtime in arguments.runtimes
    ]
    return ours + [turns.Entry(peer, None, cores) for peer in turns.PEERS]


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything."""

    def progress(text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)  # noqa: T201

    drawn = draw(arguments.lfw, arguments.people, arguments.photos, arguments.seed)
    sets = sets_of(arguments, drawn.probes, folder)
    home = folder / "home"
    with Gallery.open(home) as gallery:
        for name, photo in drawn.enrolled:
            progress(f"enrolling {name}")
            gallery.enroll(name, photo, several="largest", force=True)
        people = len(gallery.identities())
        encoder = gallery.pipeline.encoder.name
    results: dict[str, Any] = {}
    for photos in sets:
        count = len(photos.photos)
        results[photos.name] = {
            "photos": count,
            "rounds": len(photos.slices),
            "contenders": {},
        }
    stages: dict[str, Any] = {}
    for cores in arguments.cores:
        progress(f"starting the contenders for {cores} of the cores")
        with turns.running(entries_of(arguments, cores), home) as contenders:
            for photos in sets:
                # Of long photos, bulk enrolments are measured in the first runtime only.
                racing = [
                    contender
                    for contender in contenders
                    if not photos.is_long
                    or contender.entry.kind != "enrolment"
                    or contender.entry.runtime == arguments.runtimes[0]
                ]
                raced = turns.race(racing, photos, len(photos.slices), progress)
                result = results[photos.name]
                result["contenders"][cores] = report.figures(raced)
                progress("")
                title = f"{photos.name}: {result['photos']} photos in {result['rounds']} rounds"
                report.show_contenders(title, cores, result["contenders"][cores])
                if cores == 1:
                    first = f"query, {arguments.runtimes[0]}"
                    result["landmarks_apart"] = report.landmark_distances(
                        raced[first], raced[turns.ALL_FACES]
                    )
                    report.show_landmarks(result["landmarks_apart"])
            if cores == 1 and arguments.runtimes[0] == "onnx":
                progress("where the time of a query goes")
                each = {s.name: [str(path) for path in s.photos] for s in sets}
                stages = contenders[0].ask(of="stages", sets=each)
                progress("")
                report.show_stages(stages)
    return {
        **report.machine(),
        "seed": arguments.seed,
        "people": people,
        "encoder": encoder,
        "sets": results,
        "stages": stages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lfw", type=Path, help="the folder of LFW, a folder for each person")
    parser.add_argument("--groups", type=Path, help="a folder of photos of several people")
    parser.add_argument("--photos", type=int, default=120, help="of LFW")
    parser.add_argument("--people", type=int, default=100, help="in the gallery that is asked")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--group-photos", type=int, help="of the groups; default: all")
    parser.add_argument("--group-rounds", type=int, default=3)
    installed = [name for name in RUNTIMES if name != "openvino" or _has_openvino()]
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=installed)
    available = len(os.sched_getaffinity(0))
    parser.add_argument("--cores", nargs="+", type=int, choices=(1, 2), default=[1, 2][:available])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer photos, onnx alone")
    parser.add_argument("--out", type=Path, help="a file for the results, as JSON")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.photos, arguments.rounds, arguments.people = 24, 2, 20
        arguments.group_photos, arguments.group_rounds = 4, 1
        arguments.runtimes = ["onnx"]
    with tempfile.TemporaryDirectory(prefix="photos-") as folder:
        result = measure(arguments, Path(folder))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


if __name__ == "__main__":
    main()
