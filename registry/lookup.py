"""Find versions in MLflow by alias, number or content hash, and what is on record of their edits.

alias ──► number ──► tags: content hash, gate ──► source: where the files are
"""

from __future__ import annotations

import json
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from artifacts.tags import ADDED_TAG, CHAMPION, HASH_TAG, REASON_TAG, VERDICT_TAG
from config import Settings
from registry.asking import ask
from registry.client import open_client
from registry.errors import NoStore, RegistryUnreachable
from registry.fetching import fetch_version

REMEMBERED = 10_000  # introductions of edits, which never change


@dataclass(frozen=True)
class RegisteredVersion:
    """A model version of the registry, `number` of `model`.

    version: its content hash; gate: what its gate said; source: where MLflow has its files; run: the
    run that logged it, and the experiment of that run where it was asked for.
    """

    model: str
    number: str
    version: str
    gate: str
    source: str
    run: str
    aliases: tuple[str, ...]
    experiment: str | None = None


@dataclass(frozen=True)
class Introduction:
    """The version that brought an edit, and what is on record of it there; None: nothing.

    date: when it was registered, ISO 8601, UTC. gate, gate_reason: what was said of the version.
    """

    source: str | None = None
    date: str | None = None
    version: str | None = None
    gate: str | None = None
    gate_reason: str | None = None


class RegisteredModel:
    """The registered model of one backbone. name: as `Registry.name_for` gives it."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings, self.name = settings, name
        self._introductions: OrderedDict[str, Introduction] = OrderedDict()

    def aliases(self) -> dict[str, str]:
        """{alias: number}, {} where nothing has been registered. Raises RegistryUnreachable."""
        try:
            client = self._client
        except NoStore:
            return {}
        model = ask(lambda: client.get_registered_model(self.name))
        return {str(k): str(v) for k, v in model.aliases.items()} if model else {}

    def by_number(self, number: str) -> RegisteredVersion | None:
        """A version by its number, None where it is not there. Raises RegistryUnreachable."""
        version = ask(lambda: self._client.get_model_version(self.name, number))
        return _registered(version) if version else None

    def by_hash(self, version: str) -> RegisteredVersion | None:
        """A version by its content hash or the beginning of it; None where there is not just one."""
        versions = {r.version: r for r in map(_registered, self._versions()) if r.version}
        matching = [r for name, r in versions.items() if name.startswith(version)]
        return matching[0] if len(matching) == 1 else None

    def introduction(self, edit: str) -> Introduction:
        """The oldest version on record that brought an edit. Raises RegistryUnreachable."""
        cached = self._introductions.get(edit)
        if cached is not None:
            return cached
        introducing = [
            v
            for v in self._versions(order_by=["version_number ASC"])
            if edit in (v.tags or {}).get(ADDED_TAG, "").split()
        ]
        if not introducing:
            return Introduction()
        version = min(introducing, key=lambda v: int(v.version))
        moment = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        introduction = Introduction(
            self._source(version.run_id, edit),
            moment.isoformat(timespec="seconds"),
            version.tags.get(HASH_TAG),
            version.tags.get(VERDICT_TAG),
            version.tags.get(REASON_TAG),
        )
        self._introductions[edit] = introduction
        while len(self._introductions) > REMEMBERED:
            self._introductions.popitem(last=False)
        return introduction

    def fetch(self, version: RegisteredVersion) -> Path:
        """A copy of a version's files in the home's cache. Raises as `fetch_version` does."""
        cache = self.settings.paths.cache / "served"
        return fetch_version(self._client, version.source, version.version, cache)

    def _versions(self, **order: list[str]) -> list[Any]:
        search: Callable[..., Any] = self._client.search_model_versions
        versions = ask(lambda: list(search(f"name='{self.name}'", max_results=1000, **order)))
        return versions or []

    def _source(self, run: str | None, edit: str) -> str | None:
        """Who reported an edit, as the run of its job has it; None where it does not say."""
        if not run:
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = ask(lambda: self._client.download_artifacts(run, "edits.json", folder))
                rows = json.loads(Path(path).read_text(encoding="utf-8"))["added"] if path else []
            except (RegistryUnreachable, OSError, ValueError, KeyError):
                return None
        return next((str(row["source"]) for row in rows if row.get("id") == edit), None)

    @cached_property
    def _client(self) -> Any:
        return open_client(self.settings)


def find_version(settings: Settings, version: str) -> RegisteredVersion | None:
    """The model version of this content, of whichever backbone; None where it was never logged.

    Raises NoStore, RegistryUnreachable.
    """
    client = open_client(settings)

    def search() -> RegisteredVersion | None:
        matches = client.search_model_versions(f"tags.`{HASH_TAG}` = '{version}'", max_results=1)
        if not matches:
            return None
        model = client.get_model_version(matches[0].name, matches[0].version)
        return _registered(model, client.get_run(model.run_id).info.experiment_id)

    return ask(search)


def champion_hash(settings: Settings) -> str | None:
    """The content hash that the alias `champion` stands for, None where it is unset.

    Where several backbones have one, the model version that was logged last. Raises NoStore,
    RegistryUnreachable.
    """
    client = open_client(settings)

    def search() -> str | None:
        champions = [
            client.get_model_version(model.name, number)
            for model in client.search_registered_models()
            if (number := model.aliases.get(CHAMPION))
        ]
        newest = max(champions, key=lambda v: v.creation_timestamp, default=None)
        return None if newest is None else str(newest.tags.get(HASH_TAG))

    return ask(search)


def _registered(version: Any, experiment: str | None = None) -> RegisteredVersion:
    tags = version.tags or {}
    return RegisteredVersion(
        version.name,
        str(version.version),
        tags.get(HASH_TAG, ""),
        tags.get(VERDICT_TAG, ""),
        str(version.source),
        str(version.run_id or ""),
        tuple(sorted(version.aliases or ())),
        experiment,
    )
