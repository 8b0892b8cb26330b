"""Find versions in the MLflow registry by alias or content hash, and open them, verified.

alias ──► number ──► tags: content hash, gate ──► HOME/versions/<hash>, or MLflow's artifacts
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from config import Settings
from melo_engine import Backbone, Version
from melo_engine.errors import MeloError
from melo_engine.version import read_manifest
from serving.errors import RegistryUnreachable, VersionUnusable

HASH_TAG, VERDICT_TAG = "melo.content_hash", "melo.gate"
REASON_TAG, ADDED_TAG = "melo.gate_reason", "melo.added"
REMEMBERED = 10_000  # introductions of edits, which never change
PASSED = "passed"


@dataclass(frozen=True)
class Registered:
    """A model version of the registry. version: its content hash; gate: what its gate said."""

    number: str
    version: str
    gate: str
    source: str


@dataclass(frozen=True)
class Introduction:
    """The version that brought an edit, and what is on record of it there; None: it isn't.

    date: when it was registered, ISO 8601, UTC. gate, gate_reason: what was said of the version.
    """

    source: str | None = None
    date: str | None = None
    version: str | None = None
    gate: str | None = None
    gate_reason: str | None = None


class Registry:
    """The registered model of one backbone. name: as `tasks.register` names it."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings, self.name = settings, name
        self._introductions: OrderedDict[str, Introduction] = OrderedDict()

    def aliases(self) -> dict[str, str]:
        """{alias: number}, {} where nothing has been registered. Raises RegistryUnreachable."""
        if (
            self.settings.registry.tracking_uri is None
            and not self.settings.paths.mlflow_db.exists()
        ):
            return {}
        found = self._ask(lambda: self._client.get_registered_model(self.name))
        return {str(k): str(v) for k, v in found.aliases.items()} if found else {}

    def by_number(self, number: str) -> Registered:
        """A version by its number. Raises RegistryUnreachable, VersionUnusable."""
        found = self._ask(lambda: self._client.get_model_version(self.name, number))
        if found is None:
            raise VersionUnusable(f"the registry has no version {number} of {self.name}.")
        return _registered(found)

    def by_hash(self, version: str) -> Registered | None:
        """A version by its content hash or the beginning of it; None where there is not just one."""
        found = self._ask(
            lambda: list(
                self._client.search_model_versions(f"name='{self.name}'", max_results=1000)
            )
        )
        known = {r.version: r for v in found or () if (r := _registered(v)).version}
        matching = [r for name, r in known.items() if name.startswith(version)]
        return matching[0] if len(matching) == 1 else None

    def introduction(self, edit: str) -> Introduction:
        """The oldest version on record that brought an edit. Raises RegistryUnreachable."""
        known = self._introductions.get(edit)
        if known is not None:
            return known
        found = self._ask(
            lambda: list(
                self._client.search_model_versions(
                    f"name='{self.name}'", max_results=1000, order_by=["version_number ASC"]
                )
            )
        )
        brought = [v for v in found or () if edit in (v.tags or {}).get(ADDED_TAG, "").split()]
        if not brought:
            return Introduction()
        version = min(brought, key=lambda v: int(v.version))
        moment = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        introduction = Introduction(
            self._source(version.run_id, edit), moment.isoformat(timespec="seconds"),
            version.tags.get(HASH_TAG), version.tags.get(VERDICT_TAG), version.tags.get(REASON_TAG),
        )  # fmt: skip
        self._introductions[edit] = introduction
        while len(self._introductions) > REMEMBERED:
            self._introductions.popitem(last=False)
        return introduction

    def _source(self, run: str | None, edit: str) -> str | None:
        """Who reported an edit, as the run of its job has it; None where it does not say."""
        if not run:
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = self._ask(lambda: self._client.download_artifacts(run, "edits.json", folder))
                rows = json.loads(Path(path).read_text(encoding="utf-8"))["added"] if path else []
            except (RegistryUnreachable, OSError, ValueError, KeyError):
                return None
        return next((str(row["source"]) for row in rows if row.get("id") == edit), None)

    def open(self, found: Registered, backbone: Backbone) -> Version:
        """The version, every checksum of it verified. Raises VersionUnusable."""
        if found.gate != PASSED:
            raise VersionUnusable(
                f"version {found.number} of {self.name} did not pass a gate (it says "
                f"{found.gate or 'nothing'}); promote one that did."
            )
        folder = self.settings.paths.versions / found.version
        try:
            if not (folder / "manifest.json").is_file():
                folder = self._fetched(found)
            version = Version.load(folder, backbone, folder.parent / "shards")
            for shard in version.shards.values():
                shard.pairs  # noqa: B018  read now, so that damage shows before anyone asks
        except (MeloError, OSError) as error:
            raise VersionUnusable(
                f"version {found.version[:12]} can't be opened: {error}"
            ) from None
        if version.id != found.version:
            raise VersionUnusable(
                f"version {found.number} of {self.name} is on record as {found.version[:12]} but "
                f"holds {version.id[:12]}; restore it from a backup."
            )
        return version

    def _fetched(self, found: Registered) -> Path:
        """A copy of MLflow's artifacts in the cache, for a machine that does not hold the home.

        A version logs the shards that no other had logged before; shards.json says where the rest is.
        """
        cache = self.settings.paths.cache / "served"
        folder, shards = cache / found.version, cache / "shards"
        if (folder / "manifest.json").is_file():
            return folder
        shards.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".fetching-", dir=cache))
        try:
            self._download(found.source, partial)
            manifest = next(partial.rglob("manifest.json"), None)
            if manifest is None:
                raise VersionUnusable(f"MLflow holds no version under {found.source}.")
            own = manifest.parent
            others: dict[str, str] = {}
            if (own / "shards.json").is_file():
                others = json.loads((own / "shards.json").read_text(encoding="utf-8"))["others"]
            for name in read_manifest(own)["shards"]:
                if not (shards / name).exists():
                    self._fetch_shard(
                        name, own / "shards" / name, others.get(name), shards, partial
                    )
            if not folder.exists():
                os.replace(own, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    def _fetch_shard(
        self, name: str, here: Path, model: str | None, shards: Path, partial: Path
    ) -> None:
        """Put a shard into the cache: it came along, or the logged model that holds it has it."""
        if not here.is_dir():
            if model is None:
                raise VersionUnusable(f"shard {name} is not in MLflow; restore it from a backup.")
            logged = self._ask(lambda: self._client.get_logged_model(model))
            if logged is None:
                raise VersionUnusable(f"shard {name} is gone: logged model {model} was deleted.")
            fetched = partial / "others" / name
            self._download(f"{logged.artifact_location}/artifacts/version/shards/{name}", fetched)
            here = next(path.parent for path in fetched.rglob("sha256.json"))
        os.replace(here, shards / name)

    def _download(self, uri: str, where: Path) -> None:
        """Artifacts into a folder. Raises RegistryUnreachable."""
        import mlflow

        where.mkdir(parents=True, exist_ok=True)
        self._ask(
            lambda: mlflow.artifacts.download_artifacts(
                artifact_uri=uri, dst_path=str(where), tracking_uri=self.settings.tracking_uri
            )
        )

    def _ask(self, question: Any) -> Any:
        """What the registry says, None where it knows nothing of it."""
        from mlflow.exceptions import MlflowException

        try:
            return question()
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise RegistryUnreachable(_first_line(error)) from None
        except Exception as error:  # a database or a network has errors of its own
            raise RegistryUnreachable(_first_line(error)) from None

    @cached_property
    def _client(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        uri = self.settings.tracking_uri
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _registered(found: Any) -> Registered:
    tags = found.tags or {}
    return Registered(
        str(found.version),
        tags.get(HASH_TAG, ""),
        tags.get(VERDICT_TAG, ""),
        str(found.source),
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"the MLflow registry does not answer: {lines[0] if lines else type(error).__name__}"
