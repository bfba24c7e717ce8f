"""A gallery and everything that can be done with it, each use a few lines over its parts.

`Gallery` is here; its methods lie beside it by subject.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gallery.dates import checked_date
from gallery.encoders.registry import read_spec
from gallery.factory import build_workers
from gallery.gallery.admin import Administration
from gallery.gallery.duplicates import Duplicates
from gallery.gallery.erasure import Erasure
from gallery.gallery.identities import Identities
from gallery.gallery.queries import Queries
from gallery.gallery.reencoding import Reencoding
from gallery.progress import StepProgress, no_step_progress
from gallery.types import AnyPath, Enrolment, Several

if TYPE_CHECKING:
    from gallery.enrolment.new_face import ReadPhoto
    from gallery.vision.folder import LeftOut
    from gallery.vision.photo_source import PhotoSource


class Gallery(Queries, Identities, Erasure, Duplicates, Reencoding, Administration):
    """A gallery of known people in one folder.

    Open it with `Gallery.open`. Close it, or use it in a `with` block. Every error that a user can
    mend is a kind of GalleryError, with the value, the limit and the remedy in its message.
    """

    # Former names, for programs that use them.
    eye, judge = Identities.pipeline, Identities.scorer
    encoder_eye, recorded_eye = Reencoding.encoder_pipeline, Reencoding.recorded_pipeline

    def enroll(
        self,
        name: str,
        photo: PhotoSource,
        *,
        several: Several | str = Several.REFUSE,
        force: bool = False,
        distinct: bool = False,
        new: bool = False,
        strict: bool = False,
        taken: str | None = None,
    ) -> Enrolment:
        """Enrol a photo of a person. The face is on the disk when this returns.

        name : if nobody has exactly this name, somebody whose name differs only in case, accents,
        spaces, hyphens or underscores is meant, and `notes` of the enrolment say so.
        photo, several : as in `query`.
        force : enrol a face that matches another identity, too.
        distinct : as force, and mark the two as different people: see `keep_distinct`.
        new : a name that differs so is another person's.
        strict : refuse a face that makes a poor example of the person, see gallery.types.Fault.
        taken : when the photo was taken: "1998", "1998-07" or "1998-07-14"; None for its EXIF date.
        Returns an Enrolment: enrolled, already there, refused and why, or an error for a photo that
        cannot be used. Raises InvalidName, NameAmbiguous if several people may be meant,
        DateInvalid, SettingInvalid or HomeError.

        >>> gallery.enroll("Grace Hopper", "grace.jpg").outcome.value
        'enrolled'
        """
        from gallery.enrolment.enroller import EnrolOptions

        options = EnrolOptions(
            several=Several.of(several), force=force, distinct=distinct, new=new, strict=strict
        )
        return self._runtime.steady(
            lambda p: p.enroller.get().enroll(name, photo, options, taken=taken)
        )

    def enroll_photos(
        self,
        name: str,
        photos: Sequence[PhotoSource],
        *,
        several: Several | str = Several.REFUSE,
        force: bool = False,
        distinct: bool = False,
        new: bool = False,
        strict: bool = False,
        taken: str | None = None,
    ) -> list[Enrolment]:
        """Enrol photos of a person, and return the outcome of each. As `enroll`."""
        return [
            self.enroll(
                name,
                photo,
                several=several,
                force=force,
                distinct=distinct,
                new=new,
                strict=strict,
                taken=taken,
            )
            for photo in photos
        ]

    def enroll_folder(
        self,
        folder: AnyPath,
        *,
        several: Several | str = Several.REFUSE,
        force: bool = False,
        distinct: bool = False,
        new: bool = False,
        strict: bool = False,
        taken: str | None = None,
        progress: StepProgress = no_step_progress,
        left_out: list[LeftOut] | None = None,
    ) -> Iterator[Enrolment]:
        """Enrol everyone in a folder with one folder per person; yield the outcome of each photo.

        All photos are read and judged before the first is enrolled: see gallery.enrolment.folder.
        several, force, distinct, new, strict, taken : as in `enroll`, for every photo.
        progress : called with the step, and how many photos of how many are done.
        left_out : receives the files that were not looked at, see gallery.vision.folder.
        Raises PhotoUnreadable, NoPeople, DateInvalid, SettingInvalid or HomeError.

        >>> [enrolment.outcome.value for enrolment in gallery.enroll_folder("people")]
        ['enrolled']
        """
        from gallery.enrolment.enroller import EnrolOptions
        from gallery.enrolment.folder import enroll_folder

        options = EnrolOptions(
            several=Several.of(several),
            force=force,
            distinct=distinct,
            new=new,
            strict=strict,
            again=True,
        )

        def enroll(name: str, photo: Path, read: ReadPhoto | None) -> Enrolment:
            return self._runtime.steady(
                lambda p: p.enroller.get().enroll(name, photo, options, taken=taken, read=read)
            )

        if taken is not None:
            checked_date(taken)  # before anything is read
        parts = self._runtime.parts()
        pipeline = parts.pipeline.get()
        spec = read_spec(pipeline.encoder.network.traits.spec)
        return enroll_folder(
            Path(folder),
            enroll,
            pipeline,
            parts.scorer.get(),
            self.database,
            options,
            views=pipeline.views.enrolled,
            workers=build_workers(self.settings, spec),
            progress=progress,
            left_out=left_out,
        )
