"""The problem type (RFC 9457) of each error, for the server and the client.

Programs read the types, so they are written out: renaming a class must not change its type.
"""

from __future__ import annotations

from gallery import errors
from gallery.errors import GalleryError

PREFIX = "urn:face-gallery:"

PROBLEM_TYPES: dict[type[GalleryError], str] = {
    errors.GalleryError: "gallery-error",
    errors.PhotoError: "photo-error",
    errors.PhotoUnreadable: "photo-unreadable",
    errors.PhotoTooLarge: "photo-too-large",
    errors.PhotoUndecodable: "photo-undecodable",
    errors.NoFaceFound: "no-face-found",
    errors.SeveralFacesFound: "several-faces-found",
    errors.TooManyFaces: "too-many-faces",
    errors.PhotoLost: "photo-lost",
    errors.FaceUnencodable: "face-unencodable",
    errors.InvalidName: "invalid-name",
    errors.DetailsInvalid: "details-invalid",
    errors.DateInvalid: "date-invalid",
    errors.IdentityNotFound: "identity-not-found",
    errors.NameAmbiguous: "name-ambiguous",
    errors.IdentityExists: "identity-exists",
    errors.FaceNotFound: "face-not-found",
    errors.LastFace: "last-face",
    errors.FaceAlreadyEnrolled: "face-there",
    errors.InvalidEncoding: "invalid-encoding",
    errors.WeightsError: "weights-error",
    errors.WeightsMissing: "weights-missing",
    errors.WeightsMismatch: "weights-mismatch",
    errors.WeightsUnreadable: "weights-unreadable",
    errors.HeadUnusable: "head-unusable",
    errors.HomeError: "home-error",
    errors.HomeUnusable: "home-unusable",
    errors.DatabaseNewer: "database-newer",
    errors.DatabaseUnusable: "database-unusable",
    errors.DatabaseBusy: "database-busy",
    errors.EncoderChanged: "encoder-changed",
    errors.CannotReencode: "cannot-reencode",
    errors.ErasureIncomplete: "erasure-incomplete",
    errors.SearchFailed: "search-failed",
    errors.BackupUnusable: "backup-unusable",
    errors.ExportUnusable: "export-unusable",
    errors.NoPhotos: "no-photos",
    errors.FolderForgotten: "folder-forgotten",
    errors.PlanUnusable: "plan-unusable",
    errors.PlanOutdated: "plan-outdated",
    errors.UndoImpossible: "undo-impossible",
    errors.NoPeople: "no-people",
    errors.TrainingDataTooSmall: "training-data-too-small",
    errors.TrainingInterrupted: "training-interrupted",
    errors.CalibrationNotFound: "calibration-not-found",
    errors.MergeEmpty: "merge-empty",
    errors.MergeNotFound: "merge-not-found",
    errors.MergeTooOld: "merge-too-old",
    errors.ThumbnailNotFound: "thumbnail-not-found",
    errors.KeyNotFound: "key-not-found",
    errors.JobNotFound: "job-not-found",
    errors.ServerUnreachable: "server-unreachable",
    errors.ServerRefused: "server-refused",
    errors.HeadWorse: "head-worse",
    errors.ProtocolUnusable: "protocol-unusable",
    errors.SettingInvalid: "setting-invalid",
}


def error_of(problem_type: str) -> type[GalleryError] | None:
    """Return the error class of a problem's `type` (prefix included), or None if there is none."""
    name = problem_type.removeprefix(PREFIX)
    return next((kind for kind, known in PROBLEM_TYPES.items() if known == name), None)
