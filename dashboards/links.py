"""Where other pages are: servers of `melo up`, a tracking server."""

from __future__ import annotations

import json
import re

from config import Settings


def links(settings: Settings) -> dict[str, str]:
    """Where the pages of `mlflow` and `prefect` are: servers of `melo up`, or a tracking server."""
    urls: dict[str, str] = {}
    try:
        text = settings.paths.state("services.json").read_text(encoding="utf-8")
        urls = {s["name"]: s["url"] for s in json.loads(text) if s.get("url")}
    except (OSError, ValueError, TypeError, KeyError):
        pass
    if settings.tracking_uri.startswith("http"):
        urls["mlflow"] = without_secrets(settings.tracking_uri).rstrip("/")
    return {name: url for name, url in urls.items() if name in ("mlflow", "prefect")}


def without_secrets(text: str) -> str:
    """A text whose addresses have lost user and password: whoever sees the pages may read it."""
    return re.sub(r"://[^/@\s]*@", "://", text)
