"""Batches of a long sequence, such as the parameters of one SQL query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Value = TypeVar("Value")


def batched(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """Yield the values in order, in lists of `size`; the last list may be shorter.

    Yields nothing when there are no values.
    """
    remaining = iter(values)
    while batch := list(islice(remaining, size)):
        yield batch
