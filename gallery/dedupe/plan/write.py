"""A plan is written: plan.json, plan.csv and report.html, and remembered by the gallery."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from gallery.dedupe.findings import Findings
from gallery.dedupe.plan.apply import refuse_if_changed
from gallery.dedupe.plan.files import CSV_FILE, JSON_FILE, PAGE_FILE, plan_csv, plan_json
from gallery.dedupe.plan.model import plan_of
from gallery.dedupe.plan.report import report_page
from gallery.errors import PlanUnusable
from gallery.names import printable
from gallery.progress import Progress
from gallery.store import plans
from gallery.store.database import Database
from gallery.vision.photo import PhotoReader
from indexer.whole_file import atomic_write


def write_plan(
    database: Database,
    findings: Findings,
    folder: Path | None,
    out: Path,
    reader: PhotoReader,
    thumbnail: Callable[[int], bytes | None],
    progress: Progress,
) -> list[Path]:
    """Write the files of a plan. Returns their paths.

    folder : the folder that was deduplicated; None for the gallery.
    thumbnail : a face's stored thumbnail by its id, a JPEG, or None.
    The files are removed when anyone is erased, unless they were moved. Raises PlanOutdated when
    the gallery changed since it was compared, PlanUnusable for findings of the gallery that do not
    say in which state it was, OSError.
    """
    state = None if folder is not None else findings.state
    if folder is None and state is None:
        raise PlanUnusable(
            "these findings do not say in which state the gallery was; use those that"
            " Gallery.findings() returns"
        )
    plan = plan_of(findings, plans.new_id())
    report = report_page(findings, plan, folder, reader, thumbnail, progress)
    contents = {
        out / JSON_FILE: json.dumps(plan_json(plan), indent=1),
        out / CSV_FILE: plan_csv(plan),
        out / PAGE_FILE: report,
    }
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    with database.writing() as session:
        if state is not None:
            refuse_if_changed(session, state, "it was compared", "run `gallery dedupe` again")
        plans.add(session, plan.id, state, [str(file.resolve()) for file in contents])
        for file, content in contents.items():
            with atomic_write(file) as target:
                target.write(printable(content).encode())
    # All get the same time, so that a later edit of one of them shows.
    written = time.time_ns()
    for file in contents:
        os.utime(file, ns=(written, written))
    return list(contents)
