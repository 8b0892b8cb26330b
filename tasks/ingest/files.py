"""The files that paths, folders and globs name."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from tasks.ingest.errors import IngestError

ABOUT_A_DATASET = (
    "dataset_info.json dataset_infos.json dataset_dict.json state.json README.md".split()
)


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files that paths, folders and globs name, in order; nothing else is opened.

    In a folder hidden files and links are passed over, so that it can't point outside itself, and so
    are the descriptions of a data set of Hugging Face `datasets`.
    Raises IngestError for a path that names none.
    """
    files: dict[Path, None] = {}
    for entry in paths:
        path = Path(entry)
        try:
            is_file, is_folder = path.is_file(), path.is_dir()
        except (OSError, ValueError):
            is_file = is_folder = False
        if is_file:
            files[path] = None
        elif is_folder:
            files.update(dict.fromkeys(_inside(path)))
        else:
            matches = [
                name
                for name in map(Path, sorted(glob.glob(str(entry), recursive=True)))
                if name.is_file()
            ]
            if not matches:
                raise IngestError(f"{entry} is not there. Give a file, a folder or a glob.")
            files.update(dict.fromkeys(matches))
    return list(files)


def _inside(folder: Path) -> list[Path]:
    root = folder.resolve()
    files = sorted(
        entry
        for entry in folder.rglob("*")
        if not entry.name.startswith(".")
        and not entry.is_symlink()
        and entry.is_file()
        and entry.resolve().is_relative_to(root)
    )
    if any(file.suffix in (".arrow", ".parquet") for file in files):
        return [file for file in files if file.name not in ABOUT_A_DATASET]
    return files
