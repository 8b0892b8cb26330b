"""A vLLM plug-in: an edit's adapter is loaded when a request first names it.

    model = "VERSION:EDIT" ──► MELO_ADAPTERS/**/index.json of that version ──► checksum ──► LoRARequest

vLLM finds it by the entry point `vllm.general_plugins`. MELO_ADAPTERS names a folder that
`melo export peft` wrote, or one with several of them; without it the plug-in does nothing. Beside vLLM
only the standard library is imported, so that it can be installed into vLLM's environment alone.
Interface: vllm/lora/resolver.py, the same as published for vLLM 0.9 to 0.20
(https://docs.vllm.ai/en/stable/api/vllm/lora/resolver/).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

from artifacts.hashing import file_hash

FOLDER = "MELO_ADAPTERS"
log = logging.getLogger("melo.vllm")


def register() -> None:
    """Register the resolver with vLLM, which calls this in each of its processes. Safe to repeat.

    Raises ValueError where MELO_ADAPTERS names no folder.
    """
    name = os.environ.get(FOLDER)
    if not name:
        return
    if not Path(name).is_dir():
        raise ValueError(f'{FOLDER} is "{name}"; give a folder that `melo export peft` wrote.')
    if "melo" not in LoRAResolverRegistry.get_supported_resolvers():
        LoRAResolverRegistry.register_resolver("melo", AdapterResolver(Path(name)))


class AdapterResolver(LoRAResolver):  # type: ignore[misc]
    """folder: an exported version, or a folder with exported versions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        """Find the adapter that is named VERSION:EDIT; None where there is none to be used.

        base_model_name: the model that vLLM serves, a folder or a hub id. What is wrong with an adapter
        that is there is logged. vLLM gives the request an id of its own.
        """
        return await asyncio.to_thread(self._resolve, base_model_name, lora_name)

    def _resolve(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        version, _, edit = lora_name.partition(":")
        try:
            path = self._find(version, edit, base_model_name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("adapter %s can't be used: %s", lora_name, error)
            return None
        if path is None:
            return None
        digest = hashlib.sha256(lora_name.encode("utf-8", "replace")).digest()
        number = int.from_bytes(digest[:4]) + 1
        return LoRARequest(lora_name=lora_name, lora_int_id=number, lora_path=str(path))

    def _find(self, version: str, edit: str, base_model_name: str) -> Path | None:
        """The folder of an adapter, verified; None where no exported version holds the edit."""
        for path in (self.folder / "index.json", *sorted(self.folder.glob("*/index.json"))):
            if not path.is_file():
                continue
            index, entries = _read(path, path.stat().st_mtime_ns)
            if index["version"] != version or edit not in entries:
                continue
            made_for = index["backbone"]["name"]
            if Path(made_for).name != Path(base_model_name).name:
                raise ValueError(
                    f'it was made for backbone "{made_for}", and vLLM serves "{base_model_name}". '
                    "Serve that backbone, from a folder of its name."
                )
            weights: Path = path.parent / entries[edit]["weights"]["file"]
            if not weights.resolve().is_relative_to(path.parent.resolve()):
                raise ValueError(f'"{path}" names a file outside its folder; export it again.')
            if file_hash(weights) != entries[edit]["weights"]["sha256"]:
                raise ValueError(f'"{weights}" is damaged; export the version again.')
            return weights.parent
        return None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """An exported version's index and its entries by edit; read again where the file has changed."""
    index = json.loads(path.read_text(encoding="utf-8"))
    return index, {entry["edit"]: entry for entry in index["adapters"]}
