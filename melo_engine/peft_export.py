"""One block as a LoRA adapter that PEFT loads, with its index entry as data.

    <folder>/adapter_config.json          rank r, alpha r (so PEFT's scale is 1), exact module names
             adapter_model.safetensors    lora_A (r, in), lora_B (out, r): A and B, transposed
             melo_index.json              what the adapter is for: edit, prompt, names, radius, key file
             melo_key.safetensors         key (K,) float32, and wordings (W, K), radii (W,) of W other
                                          wordings of its question

PEFT knows no index: a loaded adapter acts on every prompt. Who serves it decides when it is on.
r is the block's rank, raised with zeros to the next that vLLM can be started with (`VLLM_RANKS`).
`export_version` writes many, with one file that says when: the index as data.

    <folder>/<edit>/...              as above
             index.json              version, backbone, and of each adapter what its own file says
             projection.safetensors  how keys are made from the backbone's hidden states
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from artifacts.atomic import write_atomically
from artifacts.hashing import file_hash
from melo_engine.backbone import Backbone
from melo_engine.version import Version

SCHEMA = 1
# What `--max-lora-rank` may be: MaxLoRARanks in vllm/config/lora.py, the same in vLLM 0.11 to 0.26.
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
INDEX, KEY = "melo_index.json", "melo_key.safetensors"
VERSION_INDEX, PROJECTION = "index.json", "projection.safetensors"
_TASKS = {"seq2seq-lm": "SEQ_2_SEQ_LM", "causal-lm": "CAUSAL_LM"}


def export_block(backbone: Backbone, version: Version, edit: str, folder: str | Path) -> Path:
    """Write the block of an edit as a PEFT adapter folder. Returns the folder.

    Raises UnknownEdit where the version does not hold the edit. A classifier's adapter names no task
    type, since PEFT would train the head anew for one.
    """
    shard, row = version.place(edit)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rank = exported_rank(shard.rank)
    more = rank - shard.rank
    tensors = {}
    for name, (a, b) in zip(backbone.surgery.targets, shard.pairs, strict=True):
        lora_A = nn.functional.pad(a[row].T, (0, 0, 0, more))  # (r, in)
        lora_B = nn.functional.pad(b[row].T, (0, more))  # (out, r)
        tensors[f"base_model.model.{name}.lora_A.weight"] = lora_A.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = lora_B.contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    keys = {"key": torch.from_numpy(shard.keys[row].copy())}
    if wordings := version[edit].wordings:
        keys["wordings"] = torch.tensor([w.key for w in wordings], dtype=torch.float32)
        keys["radii"] = torch.tensor([w.radius for w in wordings], dtype=torch.float32)
    save_file(keys, folder / KEY)
    _write(folder / CONFIG, _adapter_config(backbone, rank))
    _write(folder / INDEX, _index_entry(version, edit, folder))
    return folder


def exported_rank(rank: int) -> int:
    """The smallest of `VLLM_RANKS` that holds a block's rank; one beyond them all stays as it is."""
    return next((allowed for allowed in VLLM_RANKS if allowed >= rank), rank)


def export_version(
    backbone: Backbone, version: Version, folder: str | Path, edits: Iterable[str] | None = None
) -> Path:
    """Write the blocks of a version, or of some of its edits, each as a PEFT adapter folder.

    Returns the folder, which is complete where it has an index.json. Raises UnknownEdit.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    adapters = []
    for edit in version.edits if edits is None else edits:
        name = _folder_name(edit)
        export_block(backbone, version, edit, folder / name)
        entry = json.loads((folder / name / INDEX).read_text(encoding="utf-8"))
        for part in ("key", "weights"):
            entry[part]["file"] = f"{name}/{entry[part]['file']}"
        adapters.append({"adapter": name, **entry})
    version.projection.save(folder / PROJECTION)
    index = {
        "schema": SCHEMA,
        "version": version.id,
        "backbone": {"name": version.backbone_name, "weights": version.backbone},
        "key_module": backbone.surgery.key_module,
        "projection": {"file": PROJECTION, "sha256": file_hash(folder / PROJECTION)},
        "adapters": adapters,
    }
    _write(folder / VERSION_INDEX, index)
    return folder


def _folder_name(edit: str) -> str:
    """An edit's id as the name of a folder: ids that a path would read otherwise are hashed."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", edit):
        return edit
    return hashlib.sha256(edit.encode()).hexdigest()[:32]


def _adapter_config(backbone: Backbone, rank: int) -> dict[str, Any]:
    modules = [backbone.model.get_submodule(name) for name in backbone.surgery.targets]
    return {
        "peft_type": "LORA",
        "task_type": _TASKS.get(backbone.task),
        "base_model_name_or_path": backbone.name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": not all(isinstance(module, nn.Linear) for module in modules),
        "target_modules": list(backbone.surgery.targets),
    }


def _index_entry(version: Version, edit: str, folder: Path) -> dict[str, Any]:
    record = version[edit]
    request = record.request
    projection = version.projection
    key = version.member(edit).key
    read, relation = projection.read_size, projection.relation_size
    by_letters = bool(projection.by_letters(key[None])[0])
    compared = [read, relation] if by_letters else [0, read]
    if not request.names:
        compared = [relation, projection.size]
    return {
        "schema": SCHEMA,
        "edit": edit,
        "prompt": request.question,
        "target": request.target,
        "subjects": list(request.names),
        "radius": record.radius,
        "wordings": [w.text for w in record.wordings],
        "key": {"file": KEY, "sha256": file_hash(folder / KEY), "compared": compared},
        "weights": {"file": WEIGHTS, "sha256": file_hash(folder / WEIGHTS)},
        "block": record.block,
        "version": version.id,
        "backbone": {"name": version.backbone_name, "weights": version.backbone},
        "projection": version.projection_hash,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
