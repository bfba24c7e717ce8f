"""The heads in a gallery's home that were learned from the gallery itself, and dropping them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from gallery.errors import HomeUnusable
from gallery.package_data import own_cards


def knew_any(home: Path, face_ids: Iterable[int]) -> bool:
    """Whether a head of the home's own was trained on the gallery when any of these was in it."""
    oldest = min(face_ids, default=0)
    return any(newest >= oldest for _, newest in _learned(home))


def drop_learned(home: Path) -> None:
    """Delete those heads; what is learned of others, a projection, stays. Raises HomeUnusable."""
    from gallery.matching.head import keep_projection  # with the networks behind it

    for card, _ in _learned(home):
        stem = card.name.removesuffix(".json")
        try:
            keep_projection(card.with_name(f"{stem}.safetensors"))
            card.with_name(f"{stem}-training.png").unlink(missing_ok=True)
            card.unlink(missing_ok=True)
        except OSError as error:
            raise HomeUnusable(
                f"{home} cannot be changed ({error.strerror}), and {stem} in it was learned from"
                " somebody who is erased; mend that and run `gallery check`"
            ) from error


def _learned(home: Path) -> list[tuple[Path, int]]:
    """Their model cards, and the newest face that each was learned from."""
    found = []
    for card in own_cards(home):
        try:
            source = json.loads(card.read_text(encoding="utf-8"))["source"]
            if not source["folder"]:
                found.append((card, int(source.get("newest_face_id", 2**63))))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it is no card of ours
    return found
