"""The promise about strangers for a gallery as it is now, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass

from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.store import calibrations, faces, identities
from gallery.store.database import Database
from gallery.store.records import CalibrationRecord

_LARGEST_MEASURED = 2_000
_TOO_WEAK = 0.5
_SIZES = (1, 3, 10, 30, 100, 300, 1_000, 2_000)


@dataclass(frozen=True)
class Promise:
    """expected : (identities, share of the known expected to be found) at several sizes."""

    point: OperatingPoint
    identities: int
    photos: int
    expected: tuple[tuple[int, float], ...]
    calibration: CalibrationRecord | None

    @property
    def known_found(self) -> float:
        """Expected share, on photos like those the head was calibrated on."""
        return self.point.expected_found(self.photos)

    @property
    def said(self) -> str:
        """In words."""
        people = "identity" if self.identities == 1 else "identities"
        said = (
            f"at {self.identities} {people} at most {self.point.rate:.1%} of strangers get a name"
            f" (a bias of {self.point.bias:.2f} on the logits); about {self.known_found:.0%} of"
            " known people are expected to be found on photos like those it learned from"
        )
        if self.identities > _LARGEST_MEASURED:
            said += f"; beyond {_LARGEST_MEASURED} identities both are extrapolated"
        if self.identities and self.known_found < _TOO_WEAK:
            said += "; the encoder is too weak for so many people at this rate"
        if self.calibration is not None:
            said += (
                f"; calibration {self.calibration.id} of {self.calibration.created_at:%Y-%m-%d} is"
                f" in use, made at {self.calibration.report['identities']} identities"
            )
        return said


def promise(database: Database, judge: Scorer) -> Promise:
    """Raises HeadUnusable."""
    point = judge.point()
    with database.reading() as session:
        count = identities.count(session)
        each = faces.count(session) // max(1, count)
        calibrated = calibrations.in_use(session, judge.head.sha256)
    sizes = sorted({*_SIZES, max(1, count)})
    expected = tuple((n, judge.point_at_size(point, n).expected_found(each)) for n in sizes)
    return Promise(point, count, each, expected, calibrated)
