"""Which version is meant by a name, and which one the next is built upon, by the ledger's record.

champion, candidate, previous    as the ledger says
base                             the backbone without any edit
9f2c...                          an id, or a prefix of at least four characters
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from artifacts.tags import CANDIDATE, CHAMPION, PREVIOUS
from execution.errors import UnknownVersion
from ledger import Ledger, UnknownId, VersionRecord

BASE = "base"


def resolve(ledger: Ledger, name: str) -> str:
    """The id that a name, a prefix or an id stands for, `base` itself. Raises UnknownVersion."""
    if name == BASE:
        return BASE
    if name == CHAMPION:
        champion = ledger.champions.current()
        if champion is None:
            raise UnknownVersion("there is no champion yet. Run `melo run`, or ask version base.")
        return champion.version
    if name == PREVIOUS:
        champion = ledger.champions.current()
        if champion is None or champion.previous is None:
            raise UnknownVersion("there is no previous champion. See `melo versions list`.")
        return champion.previous
    if name == CANDIDATE:
        return candidate(ledger)
    try:
        return ledger.versions.get(name).id
    except UnknownId:
        raise UnknownVersion(
            f'no version "{name}" is on record. Give an id of `melo versions list`, champion, '
            "candidate, previous or base."
        ) from None


def candidate(ledger: Ledger) -> str:
    """The newest version that passed its gate. Raises UnknownVersion."""
    passed = [
        v.id for v in ledger.versions.all() if v.verdict == "passed" and not v.info.get("deleted")
    ]
    if not passed:
        raise UnknownVersion("no version has passed its gate yet. Run `melo run`.")
    return passed[-1]


def head(ledger: Ledger) -> str | None:
    """What the next version is built upon: the newest passed descendant of the champion.

    One with an edit that was withdrawn or made ready again since, or that lost a contradiction to an
    active one, can't serve: nothing is built on it.
    """
    champion = ledger.champions.current()
    tip = champion.version if champion else None
    since = champion.at if champion else None
    for version, built in sorted(_built(ledger), key=lambda item: item[1].at):
        later = since is None or built.at >= since
        usable = version.verdict == "passed" and not version.info.get("deleted")
        follows = later and usable and built.upon == tip
        if follows and stands(ledger, version) and not ledger.conflicts.lost(version.edits_added):
            tip = version.id
    return tip


@dataclass(frozen=True)
class Built:
    """upon: the version that another was built upon, None for the backbone; at: when."""

    upon: str | None
    at: datetime

    @classmethod
    def of(cls, version: VersionRecord) -> Built:
        """The last time: the same content can be built again, upon a version that came later."""
        built = version.info.get("built")
        if not isinstance(built, dict):
            return cls(version.parent, version.created_at)
        upon = None if built["upon"] == BASE else str(built["upon"])
        return cls(upon, datetime.fromisoformat(built["at"]))


def descends(ledger: Ledger, version: str, champion: str | None) -> bool:
    """Whether a version was built upon the champion, at once or through others.

    Not where it, or one of these, has served since it was built and was then taken back: that would bring
    back what a person undid.
    """
    built = {record.id: build for record, build in _built(ledger)}
    ended = {c.previous: c.at for c in reversed(ledger.champions.history(limit=None))}
    visited: set[str] = set()
    at: str | None = version
    while at in built and at not in visited:
        if at in ended and ended[at] >= built[at].at:
            return False
        if built[at].upon == champion:
            return True
        visited.add(at)
        at = built[at].upon
    return False


def _built(ledger: Ledger) -> list[tuple[VersionRecord, Built]]:
    return [(version, Built.of(version)) for version in ledger.versions.all()]


def stands(ledger: Ledger, version: VersionRecord) -> bool:
    """Whether every edit that a version brought may still serve with it."""
    edits = ledger.edits.find(ids=version.edits_added) if version.edits_added else []
    return all(edit.state in ("trained", "active", "superseded") for edit in edits)
