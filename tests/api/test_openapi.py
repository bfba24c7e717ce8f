"""What the API says of itself is what it does: Schemathesis asks it everything it describes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

# Any bytes are a photo to a description; that these are none cannot be said in it.
_CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]


def test_schemathesis_finds_nothing(client: httpx.Client, tmp_path: Path) -> None:
    schemathesis = Path(sys.executable).with_name("schemathesis")
    ran = subprocess.run(
        [
            schemathesis, "run", f"{client.base_url}/v1/openapi.json", *_CHECKS,
            "--max-examples", "25", "--seed", "1", "--generation-database", "none", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8_000:]
    assert "Tested: 2" in ran.stdout  # twenty operations or more


def test_every_operation_is_named_explained_and_has_its_problems(client: httpx.Client) -> None:
    described = client.get("/v1/openapi.json").json()
    names = []
    for path, item in described["paths"].items():
        for operation in item.values():
            names.append(operation["operationId"])
            assert operation["summary"] and operation["description"], path
            if path.startswith("/v1"):
                assert {"4XX", "5XX"} <= set(operation["responses"]), path
                assert operation["security"], path
    assert len(names) == len(set(names))
