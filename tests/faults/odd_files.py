"""Enrol and query the files in a folder, in a separate process; print results and peak memory.

python -m tests.faults.odd_files HOME CACHE FOLDER PART PARTS

Of the files in order, every PARTS-th from number PART on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gallery import Gallery
from gallery.errors import PhotoError
from gallery.types import EnrolOutcome


def peak_kib() -> int:
    """Peak memory of this process; getrusage would include that of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def main() -> None:
    home, cache, folder = (Path(argument) for argument in sys.argv[1:4])
    part, parts = map(int, sys.argv[4:6])
    results = []
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        for file in sorted(f for f in folder.rglob("*") if f.is_file())[part::parts]:
            result = gallery.enroll("Odd", file)
            assert result.reason
            try:
                answer = gallery.query(file).outcome.value
            except PhotoError as error:
                assert result.outcome is EnrolOutcome.ERROR and str(error), file
                answer = "error"
            results.append((file.name, result.outcome.value, answer))
        face_count = sum(record.faces for record in gallery.identities())
        problems = gallery.database.problems()
    report = {"files": results, "faces": face_count, "problems": problems, "peak_kib": peak_kib()}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
