"""The stated FPIR of a gallery as it is now, and the share of known people expected to be found."""

from __future__ import annotations

from dataclasses import dataclass

from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.store import calibrations, faces, identities
from gallery.store.database import Database
from gallery.store.records import CalibrationRecord

_LARGEST_MEASURED_SIZE = 2_000
_SMALL_GALLERY = 10  # identities; the page says the same of galleries below this
_SIZES = (1, 3, 10, 30, 100, 300, 1_000, 2_000)


@dataclass(frozen=True)
class FpirStatement:
    """What a gallery promises at its operating point.

    identities : how many the gallery has.
    photos : how many photos are enrolled of each identity, on average.
    expected_by_size : (identities, expected share of known people found) at several gallery sizes.
    calibration : the calibration in use, if any.
    """

    point: OperatingPoint
    identities: int
    photos: int
    expected_by_size: tuple[tuple[int, float], ...]
    calibration: CalibrationRecord | None

    @property
    def expected_found(self) -> float:
        """Expected share of known people found, on photos like those the head was calibrated on."""
        return self.point.expected_found(self.photos)

    @property
    def summary(self) -> str:
        """The promise in words."""
        rate = f"about {self.point.fpir:.1%} of strangers get a match"
        if not self.identities:
            parts = [f"no identities enrolled yet; from the first one on, {rate}"]
        else:
            identities = "identity" if self.identities == 1 else "identities"
            parts = [
                f"at {self.identities} {identities}, {rate}, and about {self.expected_found:.0%} of"
                " known people are expected to be found in photos like those that the head was"
                " calibrated on"
            ]
        if 0 < self.identities < _SMALL_GALLERY:
            parts.append(
                "these rates were measured on other people's photos, and are only a rough guide for"
                " a gallery this small"
            )
        if self.identities > _LARGEST_MEASURED_SIZE:
            parts.append(f"both are extrapolated beyond {_LARGEST_MEASURED_SIZE} identities")
        if self.identities and (weakness := self.point.weakness(self.photos)):
            parts.append(weakness)
        if self.calibration is not None:
            parts.append(
                f"calibration {self.calibration.id} of {self.calibration.created_at:%Y-%m-%d} is in"
                f" use, made at {self.calibration.report['identities']} identities"
            )
        return "; ".join(parts)


def fpir_statement(database: Database, scorer: Scorer) -> FpirStatement:
    """Return what the gallery promises now. Raises HeadUnusable."""
    point = scorer.operating_point()
    with database.reading() as session:
        identity_count = identities.count(session)
        photos = faces.count(session) // max(1, identity_count)
        calibration = calibrations.in_use(session, scorer.head.sha256)
    sizes = sorted({*_SIZES, max(1, identity_count)})
    expected = tuple((n, scorer.point_at_size(point, n).expected_found(photos)) for n in sizes)
    return FpirStatement(point, identity_count, photos, expected, calibration)
