"""The plug-in for vLLM, against the interface that vLLM publishes: vLLM itself can't run here.

The stubs have the published signatures:
`LoRAResolver` and its registry, https://docs.vllm.ai/en/stable/api/vllm/lora/resolver/ (vLLM 0.20.2);
`LoRARequest`, https://docs.vllm.ai/en/v0.14.0/api/vllm/lora/request/ (vLLM 0.14.0).
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import shutil
import subprocess
import sys
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from config import Settings
from execution.context import open_ledger
from tests.conftest import ROOT, Melo
from tests.serving.support import SECOND

STUB = """
@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""
    base_model_name: str | None = None
    tensorizer_config_dict: dict | None = None

    def __post_init__(self):
        if self.lora_int_id < 1:
            raise ValueError("id must be > 0")
        assert self.lora_path


class LoRAResolver(ABC):
    @abstractmethod
    async def resolve_lora(self, base_model_name: str, lora_name: str) -> "LoRARequest | None": ...


class Registry:
    def __init__(self):
        self.resolvers = {}

    def get_supported_resolvers(self):
        return self.resolvers.keys()

    def register_resolver(self, resolver_name: str, resolver: LoRAResolver) -> None:
        self.resolvers[resolver_name] = resolver

    def get_resolver(self, resolver_name: str) -> LoRAResolver:
        return self.resolvers[resolver_name]
"""

ALONE = """
import sys
from types import ModuleType

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {others!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
for name in ("vllm", "vllm.lora", "vllm.lora.request", "vllm.lora.resolver"):
    sys.modules[name] = ModuleType(name)
sys.modules["vllm.lora.request"].LoRARequest = object
sys.modules["vllm.lora.resolver"].LoRAResolver = object
sys.modules["vllm.lora.resolver"].LoRAResolverRegistry = object
import serving.vllm_resolver
serving.vllm_resolver.register()
"""
OTHERS = ("torch", "transformers", "numpy", "safetensors", "mlflow", "pydantic", "melo_engine")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the plug-in, imported where the stubs stand for vLLM."""
    names: dict[str, Any] = {"ABC": ABC, "abstractmethod": abstractmethod, "dataclass": dataclass}
    exec(STUB, names)
    modules = {name: ModuleType(name) for name in ("vllm", "vllm.lora")}
    request, resolver = ModuleType("vllm.lora.request"), ModuleType("vllm.lora.resolver")
    vars(request)["LoRARequest"] = names["LoRARequest"]
    vars(resolver).update(
        LoRAResolver=names["LoRAResolver"], LoRAResolverRegistry=names["Registry"]()
    )
    modules |= {request.__name__: request, resolver.__name__: resolver}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "serving.vllm_resolver", raising=False)
    yield importlib.import_module("serving.vllm_resolver")
    sys.modules.pop("serving.vllm_resolver", None)


@pytest.fixture
def exported(two_versions: Settings, tmp_path: Path, melo_in: Callable[[Path], Melo]) -> Path:
    """A folder with both versions, exported."""
    with open_ledger(two_versions) as ledger:
        versions = [version.id for version in ledger.versions.all()]
    for number, version in enumerate(versions):
        melo_in(two_versions.home).json("export", "peft", version, str(tmp_path / f"v/{number}"))
    return tmp_path / "v"


def index_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "index.json").read_text())


def resolved(plugin: Any, folder: Path, name: str, base: str | None = None) -> Any:
    """What the plug-in finds, asked as vLLM asks: by the folder of the model that it serves."""
    base = base or f"/models/{index_of(folder / '1')['backbone']['name']}"
    resolver = plugin.AdapterResolver(folder)
    return asyncio.run(resolver.resolve_lora(base, name))


def test_vllm_finds_the_plug_in_by_its_entry_point(
    plugin: Any, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["entry-points"]["vllm.general_plugins"]["melo"].partition(":")
    assert module == plugin.__name__
    register = getattr(plugin, function)
    register()
    assert not plugin.LoRAResolverRegistry.resolvers, "nothing is set, so nothing is registered"
    monkeypatch.setenv("MELO_ADAPTERS", str(exported))
    register()
    found = plugin.LoRAResolverRegistry.get_resolver("melo")
    register()
    assert plugin.LoRAResolverRegistry.get_resolver("melo") is found
    monkeypatch.setenv("MELO_ADAPTERS", str(exported / "gone"))
    with pytest.raises(ValueError, match="melo export peft"):
        register()


def test_the_resolver_has_the_published_signature(plugin: Any) -> None:
    published = inspect.signature(plugin.LoRAResolver.resolve_lora)
    ours = inspect.signature(plugin.AdapterResolver.resolve_lora)
    assert list(ours.parameters) == list(published.parameters)
    assert inspect.iscoroutinefunction(plugin.AdapterResolver.resolve_lora)


def test_each_version_has_its_own_adapters_by_name(plugin: Any, exported: Path) -> None:
    seen = set()
    for number in ("0", "1"):
        index = index_of(exported / number)
        for entry in index["adapters"]:
            name = f"{index['version']}:{entry['edit']}"
            request = resolved(plugin, exported, name)
            assert request.lora_name == name
            assert Path(request.lora_path) == exported / number / entry["adapter"]
            assert (Path(request.lora_path) / "adapter_config.json").is_file()
            seen.add(request.lora_int_id)
    assert len(seen) == len(index_of(exported / "0")["adapters"]) + len(SECOND)
    name = f"{index['version']}:{index['adapters'][0]['edit']}"
    alone = plugin.AdapterResolver(exported / "1")
    request = asyncio.run(alone.resolve_lora(index["backbone"]["name"], name))
    assert Path(request.lora_path).parent == exported / "1"


def test_what_is_no_adapter_of_ours_is_left_to_other_resolvers(plugin: Any, exported: Path) -> None:
    version = index_of(exported / "1")["version"]
    for name in ("sql-lora", f"{version}:nobody", "0" * 32 + ":nobody", "", ":", "../../1"):
        assert resolved(plugin, exported, name) is None


def test_a_version_exported_later_is_seen_without_a_restart(plugin: Any, exported: Path) -> None:
    index = index_of(exported / "0")
    name = f"{index['version']}:{index['adapters'][0]['edit']}"
    shutil.move(exported / "0", exported.parent / "kept")
    assert resolved(plugin, exported, name) is None
    shutil.move(exported.parent / "kept", exported / "0")
    assert resolved(plugin, exported, name) is not None


def test_an_adapter_that_is_damaged_or_of_another_backbone_is_not_loaded(
    plugin: Any, exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = index_of(exported / "1")
    entry = index["adapters"][0]
    name = f"{index['version']}:{entry['edit']}"
    assert resolved(plugin, exported, name, "/models/another") is None
    assert 'vLLM serves "/models/another"' in caplog.text
    weights = exported / "1" / entry["weights"]["file"]
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert resolved(plugin, exported, name) is None
    assert "is damaged; export the version again" in caplog.text
    entry["weights"]["file"] = "../../elsewhere"
    (exported / "1" / "index.json").write_text(json.dumps(index))
    assert resolved(plugin, exported, name) is None
    assert "outside its folder" in caplog.text


def test_the_plug_in_needs_nothing_in_vllms_environment_but_vllm() -> None:
    script = ALONE.replace("{others!r}", repr(OTHERS))
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=60)
