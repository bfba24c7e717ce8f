"""Heads in a gallery's home that were trained on the gallery itself, and deleting them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from gallery.errors import HomeUnusable
from gallery.package_data import own_cards


def was_trained_on(home: Path, face_ids: Iterable[int]) -> bool:
    """Return whether a head was trained on the gallery when any of these faces was in it."""
    oldest = min(face_ids, default=0)
    return any(newest >= oldest for _, newest in _trained_on_gallery(home))


def delete_trained_heads(home: Path) -> None:
    """Delete these heads, but keep their projections, which were learned from other people.

    Raises HomeUnusable.
    """
    from gallery.matching.head import strip_to_projection

    for card, _ in _trained_on_gallery(home):
        stem = card.name.removesuffix(".json")
        try:
            strip_to_projection(card.with_name(f"{stem}.safetensors"))
            card.with_name(f"{stem}-training.png").unlink(missing_ok=True)
            card.unlink(missing_ok=True)
        except OSError as error:
            raise HomeUnusable(
                f"{home} cannot be changed ({error.strerror}), and {stem} in it was trained on a"
                " person who was erased; fix that and run `gallery check`"
            ) from error


def _trained_on_gallery(home: Path) -> list[tuple[Path, int]]:
    """Return their model cards, each with the id of the newest face trained on."""
    cards = []
    for card in own_cards(home):
        try:
            source = json.loads(card.read_text(encoding="utf-8"))["source"]
            if not source["folder"]:
                cards.append((card, int(source.get("newest_face_id", 2**63))))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not one of our model cards
    return cards
