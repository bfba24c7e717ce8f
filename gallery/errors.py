"""Every error that the product raises. A message gives the value, the limit and the remedy.

GalleryError                     exit status 2 on the command line, never a traceback
├── PhotoError                   one photo cannot be used; the others are processed
│   ├── PhotoUnreadable          missing, no permission, a folder, a device
│   ├── PhotoTooLarge            more bytes or pixels than the limit (checked before decoding)
│   ├── PhotoUndecodable         not a photo, an unsupported format, truncated, corrupt
│   ├── NoFaceFound              nothing to enrol or compare
│   ├── PhotoLost                it hung, ended the process that read it, or filled its memory
│   ├── TooManyFaces             more faces than the limit (checked before encoding)
│   ├── SeveralFacesFound        more than one face where one is needed
│   └── FaceUnencodable          the encoder gives no usable numbers for a face
├── InvalidName                  empty, too long, or with characters a name cannot have
├── DetailsInvalid               an external id or details: too long, too many, or not valid text
├── DateInvalid                  the date of a photo: not a date, in the future, before 1826
├── IdentityNotFound             no identity of that name or id
├── NameAmbiguous                a name that is near those of several identities
├── IdentityExists               a name that is taken
├── FaceNotFound                 no face with that id
├── LastFace                     the only face of an identity cannot be erased or moved
├── FaceAlreadyEnrolled          the identity already has a face from that photo
├── InvalidEncoding              wrong shape, wrong type, or not finite
├── WeightsError
│   ├── WeightsMissing           the file is not installed
│   ├── WeightsMismatch          the file has another SHA-256
│   └── WeightsUnreadable        the file is not in the format its name says
├── HeadUnusable                 the head is missing, corrupt, or made for another encoder
├── HomeError
│   ├── HomeUnusable             cannot be created, read or written
│   ├── DatabaseNewer            written by a newer version of this program
│   ├── DatabaseUnusable         corrupt, not a gallery, or the disk is full
│   ├── DatabaseBusy             another process held the lock for too long
│   ├── EncoderChanged           the gallery's encodings come from another encoder
│   ├── CannotReencode           faces without an image, no earlier encoder, or already finished
│   ├── ErasureIncomplete        erased, but a file still holds a trace
│   └── SearchFailed             the search for traces did not finish
├── BackupUnusable               not a backup, or truncated, altered, or from a newer version
├── ExportUnusable               not an export, or of another encoder than the gallery's
├── NoPhotos                     a folder without photos
├── FolderForgotten              an erasure dropped cached faces while a folder was compared
├── PlanUnusable                 a dedupe plan that cannot be read or carried out
├── PlanOutdated                 the gallery changed since the plan was made; names what changed
├── UndoImpossible               later changes depend on it, or there is nothing to undo
├── NoPeople                     a folder without people, or none who may be used
├── TrainingDataTooSmall         too few people or photos to train or calibrate on
├── TrainingInterrupted          a photo hung or ended its worker; run it again to resume
├── ServerUnreachable            the server does not answer
├── ServerRefused                it refused: key, scope, rate, or a fault of the server
├── HeadWorse                    a new head is worse than the one in use
├── CalibrationNotFound          no calibration with that number
├── MergeEmpty                   an identity merged with nothing but itself
├── MergeNotFound                no merge with that number that could be undone
├── MergeTooOld                  a later merge builds on it
├── ThumbnailNotFound            no thumbnail of that face is stored
├── KeyNotFound                  no key with that id
├── JobNotFound                  no job with that id
├── ProtocolUnusable             a protocol, errata or groups: missing, unreadable or wrong
└── SettingInvalid               a setting or option outside its range
"""

from __future__ import annotations


class GalleryError(Exception):
    """Base of all errors that are meant for the user."""


class PhotoError(GalleryError):
    """One photo cannot be used."""


class PhotoUnreadable(PhotoError):
    """The file cannot be opened or is not a regular file."""


class PhotoTooLarge(PhotoError):
    """The file has more bytes or pixels than the limit."""


class PhotoUndecodable(PhotoError):
    """The bytes are not a photo in a supported format, or are broken."""


class NoFaceFound(PhotoError):
    """The photo has no usable face."""


class SeveralFacesFound(PhotoError):
    """The photo has more than one face where exactly one is needed."""


class PhotoLost(PhotoError):
    """The photo took too long, ended the process that read it, or needed too much memory."""


class TooManyFaces(PhotoError):
    """The photo has more faces than the limit."""


class FaceUnencodable(PhotoError):
    """The encoder returns values for a face that are not finite, or all zero."""


class InvalidName(GalleryError):
    """An identity cannot have this name."""


class DetailsInvalid(GalleryError):
    """An external id or details: too long, too many, or not valid text."""


class DateInvalid(GalleryError):
    """A photo cannot have this date."""


class IdentityNotFound(GalleryError):
    """The gallery has no such identity."""


class NameAmbiguous(GalleryError):
    """No identity has this name, and several have one that differs only in case, accents or
    spacing."""


class IdentityExists(GalleryError):
    """Another identity has this name."""


class FaceNotFound(GalleryError):
    """The gallery has no such face."""


class LastFace(GalleryError):
    """The only face of an identity cannot be erased or moved without the identity."""


class FaceAlreadyEnrolled(GalleryError):
    """The identity already has a face from the same photo."""


class InvalidEncoding(GalleryError):
    """An encoding of the wrong shape or type, or with values that are not finite."""


class WeightsError(GalleryError):
    """Pretrained weights cannot be used."""


class WeightsMissing(WeightsError):
    """The weights file is not installed."""


class WeightsMismatch(WeightsError):
    """The weights file is not the one that was published."""


class WeightsUnreadable(WeightsError):
    """The weights file is not in the format its name says."""


class HeadUnusable(GalleryError):
    """The pairwise head is missing, corrupt, or made for another encoder."""


class HomeError(GalleryError):
    """The gallery's home folder cannot be used."""


class HomeUnusable(HomeError):
    """The home folder cannot be created, read or written."""


class DatabaseNewer(HomeError):
    """The database was written by a newer version."""


class DatabaseUnusable(HomeError):
    """The database is corrupt, not a gallery's, or its disk is full."""


class DatabaseBusy(HomeError):
    """Another process holds the database's lock."""


class EncoderChanged(HomeError):
    """The gallery holds encodings of another encoder."""


class CannotReencode(HomeError):
    """Some faces have no image, there is no earlier encoder, or the change is already finished."""


class ErasureIncomplete(HomeError):
    """A person was erased from the gallery, but a file in its folders still holds a trace."""


class SearchFailed(HomeError):
    """The search for traces did not finish."""


class BackupUnusable(GalleryError):
    """The file is not a backup, is damaged, or comes from a newer version."""


class ExportUnusable(GalleryError):
    """The file is not an export, is damaged, or holds what cannot be imported."""


class NoPhotos(GalleryError):
    """The folder has no photos."""


class FolderForgotten(GalleryError):
    """An erasure dropped the cached faces of a folder while it was compared."""


class PlanUnusable(GalleryError):
    """The dedupe plan cannot be read or carried out."""


class PlanOutdated(GalleryError):
    """The gallery changed since the plan was made."""


class UndoImpossible(GalleryError):
    """The applied plan can no longer be undone."""


class NoPeople(GalleryError):
    """The folder has no people, or none who may be used."""


class TrainingDataTooSmall(GalleryError):
    """Too few people or photos to train or calibrate on."""


class TrainingInterrupted(GalleryError):
    """A photo hung its worker process, or ended it. Running the command again resumes."""


class CalibrationNotFound(GalleryError):
    """The head in use has no calibration with that number."""


class MergeEmpty(GalleryError):
    """An identity cannot be merged with nothing but itself."""


class MergeNotFound(GalleryError):
    """There is no merge with that number that could be undone."""


class MergeTooOld(GalleryError):
    """A later merge builds on this one; undo that one first."""


class ThumbnailNotFound(GalleryError):
    """No thumbnail of that face is stored."""


class KeyNotFound(GalleryError):
    """There is no key with that id."""


class JobNotFound(GalleryError):
    """There is no job with that id."""


class ServerUnreachable(GalleryError):
    """The server does not answer."""


class ServerRefused(GalleryError):
    """The server refused for a reason that no other error covers."""


class HeadWorse(GalleryError):
    """The new head is worse than the one in use, on people that neither has seen."""


class ProtocolUnusable(GalleryError):
    """A file of an evaluation protocol, of errata or of groups is missing, unreadable or wrong, or
    names a photo or a person that is not there."""


class SettingInvalid(GalleryError):
    """A setting or an option is outside its range."""
