"""What every command shares: the home, its settings, its ledger, and how a table is printed."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.terminal import takes_everything

if TYPE_CHECKING:
    from config import Settings
    from ledger import Ledger
    from registry.relocation import Moved

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SURROGATE = re.compile("[\ud800-\udfff]")  # of a name that is no text; no encoding has them
BACKBONES = "smollm2, a folder, a GGUF file or a hub id"
Why = Annotated[str, typer.Option(help="The reason, kept on record.")]


def new_app(**options: Any) -> typer.Typer:
    """A typer app in the manner of this command line: plain help, known errors left to `run`."""
    return typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options
    )


class State:
    """The home a command works in; settings and ledger are opened when first asked for."""

    def __init__(self, home: Path = Path(".melo")) -> None:
        self.home = home
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The home's settings."""
        if self._settings is None:
            from config import load

            self._settings = load(self.home)
        return self._settings

    def ledger(self, *, create: bool = True) -> Ledger:
        """The home's ledger; with `create=False` a home without one is an error."""
        from ledger import Ledger

        if not create:
            self._refuse_no_ledger()
        moved = self.at_home()
        opened = Ledger.open(
            self.settings.paths.ledger,
            timeout=self.settings.ledger.timeout_seconds,
            threads=self.settings.ledger.threads,
            read_copy=self.settings.paths.read_ledger,
        )
        if moved is not None:
            opened.record_event("home-moved", str(moved), severity="warning")
        return opened

    def at_home(self) -> Moved | None:
        """Put right what names a place where the home was before, and say so."""
        from registry.relocation import put_right

        if not self.settings.home.is_dir():
            return None
        moved = put_right(self.settings)
        if moved is not None:
            typer.echo(f"melo: {moved}", err=True)
            self._settings = None  # melo.toml may have named the old place
        return moved

    def reader(self) -> Ledger:
        """The home's ledger to read: nothing is written, unless an older release made it.

        A home without one is an error.
        """
        from ledger import Ledger, LedgerTooOld

        self._refuse_no_ledger()
        try:
            return Ledger.open(
                self.settings.paths.ledger,
                read_only=True,
                timeout=self.settings.ledger.timeout_seconds,
                threads=self.settings.ledger.threads,
            )
        except LedgerTooOld:
            return self.ledger(create=False)

    def _refuse_no_ledger(self) -> None:
        from cli.errors import UsageProblem

        path = self.settings.paths.ledger
        if not path.exists():
            raise UsageProblem(f"no ledger at {path}. Start with `melo init` or `melo ingest`.")


def state(ctx: typer.Context) -> State:
    """The state of a command's context, one for all of a call."""
    return ctx.find_root().ensure_object(State)


def located(backbone: str | None) -> str | None:
    """What to open for the value of `--backbone`: a folder or a hub id; None where none was given."""
    from tasks.locate import locate_backbone

    return locate_backbone(backbone) if backbone else None


def chosen_backbone(ctx: typer.Context, backbone: str | None) -> str:
    """The same, or the home's backbone where none was given."""
    from tasks.versions import backbone_path

    return located(backbone) or backbone_path(state(ctx).settings)


def user() -> str:
    """Who types, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone"


def print_json(value: Any) -> None:
    """Print a value, a dataclass or a list of them as JSON, which says the same in any encoding."""
    escaped = not takes_everything()
    text = json.dumps(_plain(value), ensure_ascii=escaped, indent=2)
    typer.echo(text if escaped else _SURROGATE.sub(_escape, text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table that fits the terminal; piped, its lines are never cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = Table(title=title or None, box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(value)) for value in row))
    console.print(table)


def short(text: str | None, length: int = 60) -> str:
    """A text cut to fit a column."""
    flat = " ".join((text or "").split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return "".join(c if c.isprintable() else " " for c in str(value))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value
