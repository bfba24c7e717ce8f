"""What a JPEG's markers tell: how many scans it has, where it starts, and what it lacks."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from gallery.errors import PhotoUndecodable

_MAX_SCANS, _MAX_SEGMENTS = 100, 10_000  # a progressive JPEG has about ten scans
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # skips stuffed bytes and restart markers
_END, _SCAN, _PROGRESSIVE = 0xD9, 0xDA, 0xC2
_MAX_MISSING = 0.1
"""Of the rows."""
_PART_HEADER = re.compile(rb"(?:\r?\n|--|Content-|HTTP/)[\x20-\x7e\r\n\t]{0,2000}?(?=\xff\xd8\xff)")
"""What stands before each picture of a camera's stream."""


def check_scans(content: bytes, source: str) -> None:
    """Refuse a JPEG with too many scans: each one is a pass over all pixels, for a few bytes.

    Counting stops at the end of the first image: later frames and videos are not decoded.
    """
    scans = 0
    for segments, (kind, _) in enumerate(_segments(content), start=1):
        scans += kind == _SCAN
        if scans > _MAX_SCANS or segments > _MAX_SEGMENTS:
            raise PhotoUndecodable(
                f"{source} is a JPEG with more than {_MAX_SCANS} scans or {_MAX_SEGMENTS:,}"
                " segments; export it as JPEG or PNG and try again"
            )


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The kind and the content of each segment of the first image."""
    position = 0
    while (marker := _MARKER.search(content, position)) is not None:
        kind, position = marker[0][1], marker.end()
        if kind == _END:
            return
        if kind in (0xD8, 0x01):  # start of image, TEM: markers without a length
            continue
        start = position
        position += int.from_bytes(content[position : position + 2], "big")
        yield kind, content[start + 2 : position]


def without_header(content: bytes) -> bytes:
    """The file without line ends or MIME headers before a JPEG."""
    header = _PART_HEADER.match(content)
    return content if header is None else content[header.end() :]


def completed(content: bytes) -> tuple[bytes, str] | None:
    """A JPEG that was cut near its end, so ended that it can be decoded, and what is missing of it.

    None for other files, and for a JPEG with over a tenth of its rows missing.
    """
    ended = content + bytes([0xFF, _END])
    try:
        image = Image.open(io.BytesIO(ended), formats=["JPEG"])
        image.draft("L", (image.width // 8, image.height // 8))
        rows = np.asarray(image)
    except (OSError, ValueError, SyntaxError):
        return None
    kinds = [kind for kind, _ in _segments(content)]
    if _PROGRESSIVE in kinds:  # its scans cover all rows; each adds detail
        missing = 0.0 if _has_last_scan(content) else 1.0
    else:  # libjpeg fills what is missing with grey
        grey = (np.abs(rows.reshape(len(rows), -1).astype(int) - 128) <= 1).all(axis=1)
        missing = float(np.logical_and.accumulate(grey[::-1]).mean())
    if missing > _MAX_MISSING:
        return None
    note = (
        f"its last rows, {missing:.0%} of them, are grey"
        if missing
        else "a few pixels may be wrong"
    )
    return ended, f"the file is cut short, {note}"


def _has_last_scan(content: bytes) -> bool:
    """Whether the scan has begun that refines the luminance by its last bit."""
    scans = (header for kind, header in _segments(content) if kind == _SCAN)
    # Each header ends with the first and last coefficient, and with the bits before and after.
    return any(h[0] == 1 and h[-3] > 0 and h[-1] & 0x0F == 0 for h in scans if len(h) >= 6)
