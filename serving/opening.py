"""Open a registered version on the backbone, every checksum of it verified."""

from __future__ import annotations

from artifacts.errors import ArtifactError
from artifacts.manifest import MANIFEST
from melo_engine import Backbone, Version
from melo_engine.errors import MeloError
from registry.errors import NotInRegistry
from registry.lookup import RegisteredModel
from serving.errors import VersionUnusable

PASSED = "passed"


def open_version(model: RegisteredModel, number: str, backbone: Backbone) -> Version:
    """Open a version by its number, from the home's own files or fetched from MLflow.

    Raises VersionUnusable where it is damaged, did not pass a gate or is not there;
    RegistryUnreachable.
    """
    record = model.by_number(number)
    if record is None:
        raise VersionUnusable(f"the registry has no version {number} of {model.name}.")
    if record.gate != PASSED:
        raise VersionUnusable(
            f"version {record.number} of {model.name} did not pass a gate (it says "
            f"{record.gate or 'nothing'}); promote one that did."
        )
    folder = model.settings.paths.version(record.version)
    try:
        if not (folder / MANIFEST).is_file():
            folder = model.fetch(record)
        version = Version.load(folder, backbone, folder.parent / "shards")
        for shard in version.shards.values():
            shard.pairs  # noqa: B018  read now, so that damage shows before anyone asks
    except (MeloError, ArtifactError, NotInRegistry, OSError) as error:
        raise VersionUnusable(f"version {record.version[:12]} can't be opened: {error}") from None
    if version.id != record.version:
        raise VersionUnusable(
            f"version {record.number} of {model.name} is on record as {record.version[:12]} but "
            f"holds {version.id[:12]}; restore it from a backup."
        )
    return version
