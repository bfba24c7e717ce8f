"""Former spellings of the client's methods. They work in version 0.2, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gallery.types import Enrolment

P = ParamSpec("P")
T = TypeVar("T")
_ONE = "Client.enroll returns one Enrolment; use enroll_photos for a list"


def formerly(parameter: str, *, now: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Accept a parameter by its former name, too."""

    def decorated(method: Callable[P, T]) -> Callable[P, T]:
        @wraps(method)
        def wrapper(*arguments: P.args, **options: P.kwargs) -> T:
            if parameter in options:
                _warn(f"{parameter} of {method.__qualname__} is now called {now}")
                options[now] = options.pop(parameter)
            return method(*arguments, **options)

        return wrapper

    return decorated


def formerly_of_several_photos(enroll: Callable[P, Enrolment]) -> Callable[P, Enrolment]:
    """Accept several photos, and let the result of one be used as a list."""

    @wraps(enroll)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> Enrolment:
        if len(arguments) > 3:  # the client, the name, and a photo
            client, name, *photos = arguments
            _warn("several photos of Client.enroll: use enroll_photos")
            several: Any = client.enroll_photos(name, photos, **options)  # type: ignore[attr-defined]
            return several  # type: ignore[no-any-return]
        return _ListedEnrolment.of(enroll(*arguments, **options))

    return wrapper


class _ListedEnrolment(Enrolment):
    """An enrolment that is also a list of itself."""

    __hash__ = Enrolment.__hash__

    @classmethod
    def of(cls, enrolment: Enrolment) -> _ListedEnrolment:
        return cls(**{field.name: getattr(enrolment, field.name) for field in fields(enrolment)})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Enrolment) and all(
            getattr(self, field.name) == getattr(other, field.name) for field in fields(self)
        )

    def __iter__(self) -> Iterator[Enrolment]:
        _warn(_ONE)
        return iter([self])

    def __getitem__(self, index: int) -> Enrolment:
        _warn(_ONE)
        return [self][index]

    def __len__(self) -> int:
        return 1


def _warn(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=3)
