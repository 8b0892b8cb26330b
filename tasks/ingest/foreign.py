"""Files of kinds that are not read, told by their first bytes, so that they are one clear line.

a.xls  ──►  a.xls is an old Excel workbook (.xls), which is not read. Save it as .xlsx or CSV. ...
"""

from __future__ import annotations

from pathlib import Path

from tasks.ingest.opening import DAMAGE, open_bytes

TAKEN = "Taken are JSON lines, JSON, CSV, TSV, XLSX, Parquet and Arrow; text formats as .gz or .zst too."
_OFFICE = "a ZIP archive or an office document", "Unpack it, or save it as .xlsx, and give that"
_BY_BYTES = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Excel workbook (.xls)",
        "Save it as .xlsx or CSV",
    ),
    (b"PK\x03\x04", *_OFFICE),
    (b"PK\x05\x06", *_OFFICE),
    (b"PAR1", "a Parquet file under another name", "Let its name end in .parquet"),
    (b"ARROW1\x00\x00", "an Arrow file under another name", "Let its name end in .arrow"),
    (b"%PDF-", "a PDF", "Export its table as CSV or XLSX"),
    (b"SQLite format 3\x00", "an SQLite database", "Export its table as CSV"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it"),
    (b"BZh", "a bzip2 file", "Unpack it, or pack it as .gz or .zst"),
    (b"\xfd7zXZ\x00", "an xz file", "Unpack it, or pack it as .gz or .zst"),
    (b"\x80\x04\x95", "a Python pickle", "Write its rows as JSON lines or Parquet"),
)
_BY_NAME = {
    ".yaml": ("YAML", "Write its records as JSON lines"),
    ".yml": ("YAML", "Write its records as JSON lines"),
    ".toml": ("TOML", "Write its records as JSON lines"),
    ".xml": ("XML", "Write its records as JSON lines"),
    ".html": ("HTML", "Export its table as CSV"),
    ".md": ("Markdown", "Write its records as JSON lines"),
}
_AN_OBJECT = (b"{", b"\xef\xbb\xbf{", b"\xff\xfe", b"\xfe\xff")


def foreign(path: Path) -> str | None:
    """What a file is that is read as lines and can't be, and what to do; None where it may be lines."""
    try:
        with path.open("rb") as file:
            packed = file.read(16)
        with open_bytes(path) as stream:
            begin = stream.read(512)
    except DAMAGE:  # whoever reads the file will meet it again
        return None
    for mark, kind, advice in _BY_BYTES:
        if begin.startswith(mark):
            return f"{path.name} is {kind}, which is not read. {advice}. {TAKEN}"
    if begin.lstrip().startswith(_AN_OBJECT) or not begin.strip():
        return None
    kind, advice = _BY_NAME.get(_inner_suffix(path), ("", ""))
    if kind:
        return f"{path.name} is {kind}, which is not read. {advice}. {TAKEN}"
    if _is_packed_by_name(path) and packed == begin[:16] and not _is_text(begin):
        return f"{path.name} is neither gzip nor zstd, whatever its name says. {TAKEN}"
    return None


def _is_packed_by_name(path: Path) -> bool:
    return path.suffix.lower() in (".gz", ".zst", ".zstd")


def _inner_suffix(path: Path) -> str:
    return (Path(path.stem) if _is_packed_by_name(path) else path).suffix.lower()


def _is_text(begin: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in begin)
