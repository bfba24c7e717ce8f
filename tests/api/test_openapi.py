"""The OpenAPI description matches the API: Schemathesis tries every operation in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

# To the schema any bytes are a photo; it cannot express that some are not.
_CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]


def test_schemathesis_finds_no_mismatch(client: httpx.Client, tmp_path: Path) -> None:
    schemathesis = Path(sys.executable).with_name("schemathesis")
    result = subprocess.run(
        [
            schemathesis, "run", f"{client.base_url}/v1/openapi.json", *_CHECKS,
            "--max-examples", "25", "--seed", "1", "--generation-database", "none", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-8_000:]
    assert "Tested: 2" in result.stdout  # twenty operations or more


def test_every_operation_has_an_id_a_description_and_problems(client: httpx.Client) -> None:
    description = client.get("/v1/openapi.json").json()
    ids = []
    for path, item in description["paths"].items():
        for operation in item.values():
            ids.append(operation["operationId"])
            assert operation["summary"] and operation["description"], path
            if path.startswith("/v1"):
                assert {"4XX", "5XX"} <= set(operation["responses"]), path
                assert operation["security"], path
    assert len(ids) == len(set(ids))
