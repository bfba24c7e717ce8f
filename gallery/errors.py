"""Every error the product raises, each with the value, the limit and the remedy in its message.

GalleryError                     exit status 2 at the command line; never a traceback
├── PhotoError                   one photo cannot be used; others go on
│   ├── PhotoUnreadable          missing, no permission, a folder, a device
│   ├── PhotoTooLarge            more bytes or pixels than the limit (checked before decoding)
│   ├── PhotoUndecodable         not a photo, an unsupported format, truncated, corrupt
│   ├── NoFaceFound              nothing to enrol or compare
│   ├── TooManyFaces             more faces than the limit (checked before encoding)
│   ├── SeveralFacesFound        more than one face where one is needed
│   └── FaceUnencodable          the encoder gives no usable numbers for a face
├── InvalidName                  empty, too long, or with characters a name cannot have
├── DetailsInvalid               an external id or details: too long, too many, or no text
├── IdentityNotFound             no identity of that name or id
├── IdentityExists               a name that is taken
├── FaceNotFound                 no face of that number
├── LastFace                     the only face of an identity cannot be erased or moved alone
├── FaceAlreadyEnrolled          an identity has a face of that photo already
├── InvalidEncoding              wrong shape, wrong type, or not finite
├── WeightsError
│   ├── WeightsMissing           the file is not installed
│   ├── WeightsMismatch          its SHA-256 is another one
│   └── WeightsUnreadable        it is not what its name says
├── HeadUnusable                 a head that is missing, corrupt, or made for another encoder
├── HomeError
│   ├── HomeUnusable             cannot be created, read or written
│   ├── DatabaseNewer            written by a newer version of this program
│   ├── DatabaseUnusable         corrupt, foreign, full disk
│   ├── DatabaseBusy             another process holds the lock for too long
│   ├── EncoderChanged           the gallery's encodings were made by another encoder
│   ├── CannotReencode           faces without a picture, nothing to go back to, or ended meanwhile
│   ├── ErasureIncomplete        erased, but a file beside it holds a trace
│   └── SearchFailed             the search for traces did not end
├── BackupUnusable               no backup, or one that was cut short, altered, or is newer
├── ExportUnusable               no export, or not one of this gallery's encoder
├── NoPhotos                     a folder in which nothing looks like a photo
├── FolderForgotten              what was seen of a folder was erased while it was compared
├── PlanUnusable                 a dedupe plan that cannot be read, or says what cannot be done
├── PlanOutdated                 a plan made for another state of the gallery; names what changed
├── UndoImpossible               what was applied was built upon since, or there is nothing to undo
├── NoPeople                     a folder that holds no people, or no one who may be taken
├── TrainingDataTooSmall         too few people or photos to learn from, or to calibrate on
├── TrainingInterrupted          a helping process ended; run it again
├── ServerUnreachable            the server that a client asks does not answer
├── ServerRefused                it refused: a key, a scope, a rate, or a mistake of its own
├── HeadWorse                    a new head is worse than the one in use
├── CalibrationNotFound          no calibration of that number
├── MergeEmpty                   an identity merged with itself alone
├── MergeNotFound                no merge of that number that could be undone
├── MergeTooOld                  a later merge stands on it
├── ThumbnailNotFound            no picture of that face is kept
├── KeyNotFound                  no key of that id
├── JobNotFound                  no job of that id
├── ProtocolUnusable             an evaluation protocol's file that is not there or not readable
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


class TooManyFaces(PhotoError):
    """The photo has more faces than the limit."""


class FaceUnencodable(PhotoError):
    """The encoder gives numbers for a face that are not finite, or have no direction."""


class InvalidName(GalleryError):
    """An identity cannot have this name."""


class DetailsInvalid(GalleryError):
    """An external id or details that are too long, too many, or no text."""


class IdentityNotFound(GalleryError):
    """The gallery has no such identity."""


class IdentityExists(GalleryError):
    """Another identity has this name."""


class FaceNotFound(GalleryError):
    """The gallery has no such face."""


class LastFace(GalleryError):
    """The only face of an identity was to be erased, or moved, alone."""


class FaceAlreadyEnrolled(GalleryError):
    """A face was to be put under an identity that has a face of the same photo."""


class InvalidEncoding(GalleryError):
    """An encoding of the wrong shape or type, or with values that are not finite."""


class WeightsError(GalleryError):
    """Pretrained weights cannot be used."""


class WeightsMissing(WeightsError):
    """The weights file is not installed."""


class WeightsMismatch(WeightsError):
    """The weights file is not the one that was published."""


class WeightsUnreadable(WeightsError):
    """The weights file is not what its name says."""


class HeadUnusable(GalleryError):
    """The pairwise head is missing, corrupt, or made for another encoder."""


class HomeError(GalleryError):
    """The gallery's home folder cannot be used."""


class HomeUnusable(HomeError):
    """The home folder cannot be created, read or written."""


class DatabaseNewer(HomeError):
    """The database was written by a newer version."""


class DatabaseUnusable(HomeError):
    """The database is corrupt or foreign, or its disk is full."""


class DatabaseBusy(HomeError):
    """Another process holds the database's lock."""


class EncoderChanged(HomeError):
    """The gallery holds encodings of another encoder."""


class CannotReencode(HomeError):
    """Not every face can be encoded anew, there is nothing to go back to, or it was ended."""


class ErasureIncomplete(HomeError):
    """A person was erased from the gallery, but a file in its folders holds a trace."""


class SearchFailed(HomeError):
    """The search for traces did not come to its end."""


class BackupUnusable(GalleryError):
    """A file that is no backup, or is damaged, or of a newer version."""


class ExportUnusable(GalleryError):
    """A file to import that is none, is damaged, or holds what cannot be imported."""


class NoPhotos(GalleryError):
    """A folder has nothing in it that looks like a photo."""


class FolderForgotten(GalleryError):
    """What was seen of a folder was erased while it was compared."""


class PlanUnusable(GalleryError):
    """A dedupe plan cannot be read, or says what cannot be done."""


class PlanOutdated(GalleryError):
    """The gallery is no longer what the plan was made for."""


class UndoImpossible(GalleryError):
    """What was applied cannot be taken back any more."""


class NoPeople(GalleryError):
    """A folder holds no people, or no one who may be taken."""


class TrainingDataTooSmall(GalleryError):
    """Too few people or photos to learn from."""


class TrainingInterrupted(GalleryError):
    """A process that was helping ended; running the command again goes on from there."""


class CalibrationNotFound(GalleryError):
    """The gallery has no calibration of that number for the head in use."""


class MergeEmpty(GalleryError):
    """An identity was to be merged with itself alone."""


class MergeNotFound(GalleryError):
    """There is no merge of that number that could be undone."""


class MergeTooOld(GalleryError):
    """A merge that a later merge stands on."""


class ThumbnailNotFound(GalleryError):
    """No picture of that face is kept."""


class KeyNotFound(GalleryError):
    """There is no key of that id."""


class JobNotFound(GalleryError):
    """There is no job of that id."""


class ServerUnreachable(GalleryError):
    """The server that a client asks does not answer."""


class ServerRefused(GalleryError):
    """The server refused for a reason that is no other error's."""


class HeadWorse(GalleryError):
    """The head made is worse on people it has not seen than the one in use."""


class ProtocolUnusable(GalleryError):
    """A file of an evaluation protocol, or a photo that it names, is not there or not readable."""


class SettingInvalid(GalleryError):
    """A setting or an option is outside its range."""
