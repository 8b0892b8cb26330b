"""Which shards a logged model holds itself, and which of its shards lie with another one.

shards.json    {"own": [content hash, ...], "others": {content hash: logged model}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

REFERENCES = "shards.json"  # beside the manifest


@dataclass(frozen=True)
class ShardReferences:
    """own: shards that a logged model holds. others: shards and the logged models that hold them."""

    own: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """The logged models that this one cannot be loaded without."""
        return sorted(set(self.others.values()))

    @classmethod
    def read(cls, folder: Path) -> ShardReferences:
        """Read what a version's folder says; none where it says nothing.

        Raises OSError, ValueError where it can't be read.
        """
        path = folder / REFERENCES
        if not path.is_file():
            return cls()
        content = json.loads(path.read_text(encoding="utf-8"))
        own, others = content.get("own"), content.get("others")
        return cls(
            tuple(own) if isinstance(own, list) else (),
            dict(others) if isinstance(others, dict) else {},
        )

    def write(self, folder: Path) -> None:
        """Write them beside the manifest of a version that is about to be logged."""
        content = {"own": list(self.own), "others": dict(self.others)}
        (folder / REFERENCES).write_text(json.dumps(content, indent=1), encoding="utf-8")
