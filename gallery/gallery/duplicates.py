"""Finding what is stored twice or under the wrong name; plans, applied and undone."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from gallery.encoders.registry import read_spec
from gallery.errors import ThumbnailNotFound
from gallery.factory import build_reader, build_workers
from gallery.gallery.base import OpenGallery
from gallery.progress import Progress, StepProgress, no_progress, no_step_progress
from gallery.store import corrections, kept_images, plans
from gallery.types import AnyPath

if TYPE_CHECKING:
    from gallery.dedupe.findings import Findings, GalleryFindings
    from gallery.dedupe.plan.apply import Applied


class Duplicates(OpenGallery):
    """Deduplicating a folder of photos, or the gallery. Only applying a plan changes anything."""

    def dedupe_folder(
        self,
        folder: AnyPath,
        *,
        precision: float | None = None,
        people: bool | None = None,
        progress: StepProgress = no_step_progress,
    ) -> Findings:
        """Find copies, people and wrong names in a folder of photos. See gallery.dedupe.folder.

        precision : the wanted share of right pairs among those put together; None for 0.99.
        people : whether the folders directly inside are people by name; None to find out.
        progress : called with the step, and how many of how many are done.
        Raises PhotoUnreadable, NoPhotos, FolderForgotten or SettingInvalid.

        >>> findings = gallery.dedupe_folder("photos")
        >>> len(findings.copies), len(findings.people)
        (1, 1)
        """
        from gallery.dedupe.clustering.operating_point import DEFAULT_PRECISION
        from gallery.dedupe.folder import FolderOptions, dedupe_folder

        parts = self._runtime.parts()
        pipeline = parts.pipeline.get()
        spec = read_spec(pipeline.encoder.network.traits.spec)
        return dedupe_folder(
            Path(folder),
            pipeline,
            parts.scorer.get(),
            self.database,
            views=pipeline.views.probe,
            options=FolderOptions(DEFAULT_PRECISION if precision is None else precision, people),
            workers=build_workers(self.settings, spec),
            progress=progress,
        )

    def dedupe(self, progress: Progress = no_progress) -> GalleryFindings:
        """Find identities that seem to be one person, and faces enrolled twice or wrongly."""
        from gallery.dedupe.gallery import dedupe_gallery

        return self._runtime.steady(
            lambda p: dedupe_gallery(self.database, p.scorer.get(), progress)
        )

    def findings(self, progress: Progress = no_progress) -> Findings:
        """Return what `dedupe` finds, with copies confirmed on photos that are still there."""
        from gallery.dedupe.duplicate_photos import confirm_same_faces
        from gallery.dedupe.findings import findings_of

        return findings_of(confirm_same_faces(self.dedupe(progress), build_reader(self.settings)))

    def write_plan(
        self,
        found: Findings,
        folder: AnyPath | None,
        out: AnyPath,
        progress: Progress = no_progress,
    ) -> list[Path]:
        """Write findings as a plan: plan.json, plan.csv and report.html. Returns the files.

        folder : the folder that was deduplicated; None for the gallery.
        Raises PlanOutdated, PlanUnusable or OSError; see gallery.dedupe.plan.write.
        """
        from gallery.dedupe.plan.write import write_plan

        return write_plan(
            self.database,
            found,
            None if folder is None else Path(folder),
            Path(out),
            build_reader(self.settings),
            self._thumbnail_or_none,
            progress,
        )

    def _thumbnail_or_none(self, face_id: int) -> bytes | None:
        with self.database.reading() as session, contextlib.suppress(ThumbnailNotFound):
            return kept_images.thumbnail(session, face_id)
        return None

    def apply_plan(
        self, file: AnyPath, *, accept_over: float | None = None, dry_run: bool = False
    ) -> Applied:
        """Apply what was accepted in a plan. See gallery.dedupe.plan.apply."""
        from gallery.dedupe.plan.apply import apply_plan
        from gallery.dedupe.plan.files import read_plan

        plan = read_plan(Path(file))
        return apply_plan(self.database, plan, accept_over=accept_over, dry_run=dry_run)

    def saved_plans(self) -> int:
        """Return the number of plans that were written. Erasing deletes them with their files."""
        with self.database.reading() as session:
            return plans.count(session)

    def applied_plans(self) -> list[tuple[int, int, int]]:
        """List applied plans, newest first: number, steps, and steps that can be undone."""
        with self.database.reading() as session:
            return corrections.applied_plans(session)

    def undo_plan(self, number: int | None = None) -> tuple[int, list[str]]:
        """Undo an applied plan, the last one without a number. Raises UndoImpossible."""
        from gallery.dedupe.plan.undo import undo_plan

        return undo_plan(self.database, number)
