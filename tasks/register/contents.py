"""Which shards a logged model holds itself, and which of its shards lie with another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REFERENCES = "shards.json"  # beside the manifest


@dataclass(frozen=True)
class Contents:
    """own: shards that a logged model holds. others: shards and the logged models that hold them."""

    own: tuple[str, ...] = ()
    others: Mapping[str, str] | None = None

    @property
    def refers(self) -> list[str]:
        """The logged models that this one cannot be loaded without."""
        return sorted(set((self.others or {}).values()))

    @classmethod
    def of(cls, data: Mapping[str, object]) -> Contents:
        """From what `shards.json` says."""
        own, others = data.get("own"), data.get("others")
        return cls(
            tuple(own) if isinstance(own, list) else (),
            dict(others) if isinstance(others, dict) else {},
        )
