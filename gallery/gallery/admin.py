"""Calibrations, backups, exports and checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gallery.encoders.built_in import TRAITS
from gallery.gallery.base import OpenGallery
from gallery.progress import Progress, StepProgress, no_progress, no_step_progress
from gallery.store import audit, calibrations, encoders, faces
from gallery.store.records import CalibrationRecord
from gallery.types import AnyPath

if TYPE_CHECKING:
    from gallery.admin.backup import BackupInfo
    from gallery.admin.check import Finding


class Administration(OpenGallery):
    """Keeping a gallery calibrated, backed up and healthy."""

    def calibrations(self) -> list[CalibrationRecord]:
        """List every stored calibration of the operating point, oldest first."""
        with self.database.reading() as session:
            return calibrations.list_all(session)

    def keep_calibration(
        self, adjustment: dict[str, Any], report: dict[str, Any], evidence: dict[str, Any]
    ) -> int:
        """Store a calibration of the head in use and use it. Returns its number."""
        head = self.scorer.head.sha256  # before the write lock: a head may have to be read
        with self.database.writing() as session:
            audit.record(session, "calibrate")
            return calibrations.add(session, head, adjustment, report, evidence)

    def use_calibration(self, number: int) -> None:
        """Use a stored calibration, or none with 0. Raises CalibrationNotFound."""
        head = self.scorer.head.sha256
        with self.database.writing() as session:
            calibrations.set_in_use(session, head, number)
            audit.record(session, "use calibration")

    def back_up(self, file: AnyPath, progress: Progress = no_progress) -> BackupInfo:
        """Write the whole gallery to one file, while it is in use. See gallery.admin.backup."""
        from gallery.admin.backup import back_up

        return back_up(self.database, self.settings, Path(file), progress)

    def export(self, file: AnyPath) -> int:
        """Write every face with its encoding to a NumPy archive. See gallery.admin.npz."""
        from gallery.admin.npz import export_faces

        return export_faces(self.database, Path(file))

    def import_from(
        self,
        file: AnyPath,
        progress: Progress = no_progress,
        *,
        new: bool = False,
        note: Callable[[str], None] = lambda _text: None,
    ) -> tuple[int, int]:
        """Enrol the faces of a NumPy archive. Returns how many were added, and were there.

        new, note : see gallery.admin.npz.import_faces.
        Raises ExportUnusable.
        """
        from gallery.admin.npz import encoder_in, import_faces
        from gallery.matching.head_files import built_in_sha256

        file = Path(file)
        kind = self._kind_for_import(encoder_in(file))
        if kind in TRAITS:
            encoder = kind, built_in_sha256(self.settings, TRAITS[kind])
        else:
            current = self.pipeline.encoder
            encoder = current.name, current.weights_sha256
            with self.database.writing() as session:  # store what opens this encoder, too
                faces.encoder_id(session, *encoder, current.network.traits.spec)
        counts = import_faces(self.database, file, encoder, progress, new=new, note=note)
        if self.index.is_slow():
            self.index.speed_up()
        return counts

    def _kind_for_import(self, found: str) -> str:
        """The kind of encoder to import for: in a new gallery the archive's, if it is built in."""
        with self.database.reading() as session:
            is_new = encoders.current(session) is None
        is_free = is_new and self.settings.encoder is None
        return found if is_free and found in TRAITS else self.spec.kind

    def speed_up_index(self) -> bool:
        """Speed up the index if searches became slow; return whether that was done.

        A server does so in another process, while it answers. `import_from` does it at its end.
        """
        return self._speed_up.run(self.index)

    def check(
        self, *, repair: bool = False, progress: StepProgress = no_step_progress
    ) -> list[Finding]:
        """Check everything that the gallery needs.

        repair : first repair what can be repaired; no person is dropped.
        """
        from gallery.admin.check import check
        from gallery.admin.repair import repair_gallery

        repaired = repair_gallery(self.settings, self.database, self.index) if repair else []
        parts = self.settings, self.database, self.index
        return repaired + check(*parts, lambda: self.scorer, progress)
