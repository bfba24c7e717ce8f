"""What a command that does not exist was meant to be: a synonym, or a close match."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

_SYNONYMS = {
    "enroll-identity": "add create enrol enroll enrolment enrollment new register",
    "query": "ask find identify lookup match recognise recognize search who",
    "compare": "diff same verify",
    "identities list": "list ls members names people persons users",
    "identities show": "details get info view",
    "identities forget": "delete drop erase remove rm",
    "dedupe": "cluster dedup deduplicate duplicates",
    "encoders": "download models weights",
    "re-encode": "migrate reencode switch",
    "train-head": "fit train",
    "evaluate": "benchmark eval measure test",
    "serve": "api run server start web",
    "check": "doctor health status",
    "audit": "history log logs",
    "backup": "dump save snapshot",
    "guide": "docs help man manual",
}
_MEANT = {word: command for command, words in _SYNONYMS.items() for word in words.split()}


def meant(word: str, commands: Sequence[str], group: str = "") -> list[str]:
    """Return the commands that a word was probably meant to be; empty if none is near.

    commands : every command by its full name, such as "identities show".
    group : only commands of this group count, if it is named.
    """
    known = [c for c in commands if not group or c.startswith(f"{group} ")]
    word = word.lower().replace("_", "-")
    if _MEANT.get(word) in known:
        return [_MEANT[word]]
    by_last: dict[str, list[str]] = {}
    for command in known:
        by_last.setdefault(command.rpartition(" ")[2], []).append(command)
    close = next(iter(get_close_matches(word, [*by_last, *_MEANT], n=1, cutoff=0.7)), "")
    if close in known:
        return [close]
    return by_last.get(close, [command for command in known if command == _MEANT.get(close)])
