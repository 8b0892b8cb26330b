"""Why an edit answered: its request, who reported it, how far that is trusted, when, what its gate said.

    the version itself      prompt, target, subject, aliases, rephrases
    the MLflow registry     the version that brought it: number, date, gate; its run: the source
    the settings            how far that source is trusted

What can't be known here, as the ledger is not asked, is null and named under `unknown`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import Any

from config import Settings
from registry.errors import RegistryError
from registry.lookup import Introduction
from serving.champion import LoadedVersions
from serving.loaded import Loaded
from serving.prompts import as_json

log = logging.getLogger("melo.serving")


async def explanation(
    versions: LoadedVersions, loaded: Loaded, edit: object
) -> dict[str, Any] | None:
    """What is known of the edit that answered; None where the backbone did."""
    if not isinstance(edit, str) or loaded.base:
        return None
    request = loaded.editor.version[edit].request
    introduction = await asyncio.to_thread(_introduction, versions, edit)
    details: dict[str, Any] = {
        "edit": edit,
        "prompt": as_json(request.prompt),
        "target": request.target,
        "subject": request.subject,
        "aliases": list(request.aliases),
        "rephrases": list(request.rephrases),
        **asdict(introduction),
        "trust": _trust(versions.settings, introduction.source),
    }
    unknown = [name for name, value in details.items() if value is None and name != "subject"]
    return {**details, "unknown": unknown}


def _trust(settings: Settings, source: str | None) -> int | None:
    """How far a source is trusted, 0..100; None where it is not known."""
    return None if source is None else settings.sources.get(source, settings.default_source).trust


def _introduction(versions: LoadedVersions, edit: str) -> Introduction:
    """Which version brought an edit; unknown where the registry does not say or does not answer."""
    try:
        return versions.registry.introduction(edit)
    except RegistryError as error:
        log.debug("an edit can't be explained: %s", error)
        return Introduction()
