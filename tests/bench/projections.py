"""What a projection to 128 numbers loses, on a real network that gives more.

The network is the default encoder without its last layer: 256 numbers, exported to ONNX. Beside the
projections learned here stands its own last layer, which three million photos taught.

    python -m tests.bench.projections --lfw DIR --people 400 --save data/results/projections.json
    python -m tests.bench.projections --lfw DIR --protocol blufr_lfw_config.mat --save FILE

With --people: so many people of split.csv's train part are learned from, so many of its test part
measured, of two or more photos every second one. With --protocol: BLUFR, learned on each trial's
training people.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gallery.building import build_eye
from gallery.config import load_settings
from gallery.encoders.opening import read_spec
from gallery.learning.benchmarks import open_set
from gallery.learning.deciders import Cosine
from gallery.learning.encoded import EncodedPeople, Views, encode_people
from gallery.learning.people import PeopleFolder, people_in
from gallery.learning.projecting import KINDS, found_by_cosine, projected
from gallery.learning.protocols import places, read_blufr
from gallery.projection import Projection
from gallery.weights.cache import dlib_resnet_state
from tests.models import exported_dlib

_DRAWS = 20
_VIEWS = Views(2, 2)


def some(folder: PeopleFolder, count: int, seed: int) -> PeopleFolder:
    """So many people at random, every second of whom has two or more photos."""
    order = np.random.default_rng(seed).permutation(list(folder.people))
    several = [name for name in order if len(folder.people[name]) > 1][: count // 2]
    single = [name for name in order if len(folder.people[name]) == 1][: count - len(several)]
    people = {name: folder.people[name][:4] for name in sorted([*several, *single])}
    return PeopleFolder(folder.root, people, folder.part)


def projections(train: EncodedPeople, cache: Path) -> dict[str, Projection | None]:
    """By name; None leaves the encodings as they are."""
    last = dlib_resnet_state(cache)["head.weight"].numpy().T
    own = Projection(np.ascontiguousarray(last), "")
    learned: dict[str, Projection | None] = {k: learn(train, "") for k, learn in KINDS.items()}
    return {"native 256": None, **learned, "its own last layer": own}


def seen(people: EncodedPeople, projection: Projection | None) -> EncodedPeople:
    return people if projection is None else projected(people, projection)


def on_split(encode: Callable[[PeopleFolder], EncodedPeople], arguments: Any) -> dict[str, Any]:
    parts = [
        encode(some(people_in(arguments.lfw, part), arguments.people, seed))
        for seed, part in enumerate(("train", "test"))
    ]
    found: dict[str, Any] = {}
    for name, projection in projections(parts[0], load_settings().cache).items():
        test = seen(parts[1], projection)
        draws = [found_by_cosine(test, seed) for seed in range(_DRAWS)]
        found[name] = {"mean": float(np.mean(draws)), "std": float(np.std(draws))}
    counts = {"learned_from": len(parts[0]), "measured_on": len(parts[1])}
    return {"known_found_at_fpir_0.01": found, "draws": _DRAWS, "photos": counts}


def on_blufr(encode: Callable[[PeopleFolder], EncodedPeople], arguments: Any) -> dict[str, Any]:
    protocol = read_blufr(arguments.protocol)
    people = encode(people_in(arguments.lfw))
    rows = places(people, arguments.lfw, protocol.photos)
    found: dict[str, list[dict[str, Any]]] = {}
    for trial in protocol.trials[: arguments.trials]:
        training = rows[trial.training]
        train = people.take(training[training >= 0])
        for name, projection in projections(train, load_settings().cache).items():
            one = open_set(Cosine(), seen(people, projection), rows, protocol, trial)
            found.setdefault(name, []).append(one["dir_at_fpir"])
    return {
        "dir_at_fpir": {
            name: {
                rate: {
                    "mean": float(np.mean([t[rate] for t in trials])),
                    "std": float(np.std([t[rate] for t in trials])),
                }
                for rate in trials[0]
            }
            for name, trials in found.items()
        },
        "trials": min(arguments.trials, len(protocol.trials)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--protocol", type=Path)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    settings = load_settings(threads=1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = exported_dlib(Path(folder) / "pooled.onnx", settings.cache, pooled=True)
        eye = build_eye(settings, read_spec(f"onnx:{model}"), native=True)

        def encode(people: PeopleFolder) -> EncodedPeople:
            def progress(done: int) -> None:
                print(f"\r{done} of {people.photos}", end="", flush=True)  # noqa: T201

            return encode_people(people, eye, _VIEWS, settings.cache, progress, native=True)

        measure = on_split if arguments.protocol is None else on_blufr
        found = measure(encode, arguments)
    found |= {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    print(f"\n{json.dumps(found, indent=2)}")  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
