"""Writes docs/reference.md: every setting, command, exit code, route, metric, table and error there is.

    python docs/reference.py            print it; `make docs` writes the file

All of it is read from the code, so nothing stands there that is not, and nothing is that does not stand
there; `tests/test_reference.py` fails where the page is not what this prints.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo

PACKAGES = tuple(
    (
        "artifacts melo_engine ledger config registry execution tasks flows serving dashboards "
        "console deployment"
    ).split()
)
PUBLIC = ("melo_engine", "ledger", "config", "tasks.ingest", "tasks.gate", "tasks.register")
NAMES = {
    "typing.": "",
    "pydantic.types.": "",
    "config.sections.": "",
    " | None": "",
    "SecretStr": "text",
    "LocalityShape": "table",
    "str": "text",
    "bool": "true, false",
    "int": "whole number",
    "float": "number",
}
EXIT_CODES = (
    (0, "all that was asked for is done: promoted, or rightly rejected"),
    (1, "it was done and the answer is no: a gate that fails, a benchmark that misses, a finding"),
    (2, "it could not be done: one line on stderr says what was got, what is allowed, what to do"),
    (130, "ended by SIGINT; work is taken up by the next run"),
    (143, "ended by SIGTERM; work is taken up by the next run"),
)


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        "# Reference",
        "Written by `make docs` from the code; do not edit. For what things mean together, see "
        "[the house](index.md).",
        _settings(),
        _commands(),
        _exit_codes(),
        _routes(),
        _metrics(),
        _tables(),
        _errors(),
        _public_names(),
    ]
    return "\n\n".join(parts) + "\n"


def _settings() -> str:
    from config import Settings

    lines = [
        "## Settings",
        "In `HOME/melo.toml` as `[section]` and `name = value`; in the environment as "
        "`MELO_SECTION__NAME`, which is stronger.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            continue
        several = get_origin(field.annotation) is dict
        head = f"### [{name}.NAME]" if several else f"### [{name}]"
        lines += [head, "", _first_line(section), ""]
        lines += ["| name | default | allowed | |", "|---|---|---|---|"]
        for key, entry in section.model_fields.items():
            lines.append(
                f"| `{key}` | {_default(entry)} | {_allowed(entry)} | {_cell(entry.description or '')} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model behind an annotation, also as the values of a table."""
    for part in (annotation, *get_args(annotation)):
        if inspect.isclass(part) and issubclass(part, BaseModel):
            return part
    return None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), [], {}):
        return "none"
    return f"`{_cell(str(value))}`"


def _allowed(field: FieldInfo) -> str:
    """The type as a user sees it, with bounds."""
    name = getattr(field.annotation, "__name__", "")
    plain = str(field.annotation) if get_args(field.annotation) or not name else name
    if get_origin(field.annotation) is not None and "Literal" in plain:
        choices = [
            str(c)
            for part in (field.annotation, *get_args(field.annotation))
            if "Literal" in str(get_origin(part))
            for c in get_args(part)
        ]
        plain = ", ".join(dict.fromkeys(choices))
    for long, short in NAMES.items():
        plain = plain.replace(long, short)
    bounds = [
        f"{sign} {getattr(rule, attribute)}"
        for rule in field.metadata
        for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if hasattr(rule, attribute)
    ]
    return _cell(", ".join([plain, *bounds]))


def _commands() -> str:
    from cli.root import app

    lines = [
        "## Commands",
        "Each with `--help`. `--home FOLDER` (or `MELO_HOME`) goes before the command.",
    ]
    root = typer.main.get_command(app)
    for path, command in _walk(root, ()):
        lines += ["", f"### melo {' '.join(path)}", "", _cell(command.help or "").strip(), ""]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            names = ", ".join(f"`{n}`" for n in parameter.opts) or f"`{parameter.name}`"
            if parameter.param_type_name == "argument":
                names = f"`{str(parameter.name).upper()}`"
            said = getattr(parameter, "help", None) or ""
            lines.append(f"- {names} {_cell(said)}".rstrip())
    return "\n".join(lines)


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words."""
    context = typer.Context(command, info_name="melo")
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None and not getattr(found, "hidden", False):
            yield from _walk(found, (*path, name))


def _exit_codes() -> str:
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES)
    return f"## Exit codes\n\n| code | |\n|---|---|\n{rows}"


def _routes() -> str:
    from serving import openai, operations, questions, responses

    found = [
        (next(iter(route.methods)), route.path, _first_line(route.endpoint))
        for router in (openai.router, responses.router, questions.router, operations.router)
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
    ]
    rows = "\n".join(f"| {method} | `{path}` | {_cell(said)} |" for method, path, said in found)
    return f"## HTTP routes of `melo serve`\n\n| | path | |\n|---|---|---|\n{rows}"


def _metrics() -> str:
    from serving.metrics import Metrics

    rows = []
    for family in Metrics().registry.collect():
        rows.append(f"| `{family.name}` | {family.type} | {_cell(family.documentation)} |")
    return (
        "## Metrics\n\nFor Prometheus, at `/metrics`.\n\n| name | kind | |\n|---|---|---|\n"
        + "\n".join(rows)
    )


def _tables() -> str:
    from ledger import Ledger

    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.open(Path(folder) / "ledger.duckdb") as ledger,
        ledger.store.read() as con,
    ):
        rows = con.execute(
            "SELECT table_name, string_agg(column_name || ' ' || lower(data_type), ', ' "
            "ORDER BY ordinal_position) FROM information_schema.columns "
            "WHERE table_schema = 'main' GROUP BY table_name ORDER BY table_name"
        ).fetchall()
    lines = ["## Tables of the ledger", "What each is for: [ledger](ledger.md).", ""]
    lines += ["| table | columns |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(columns)} |" for name, columns in rows]
    return "\n".join(lines)


def _errors() -> str:
    lines = ["## Errors", "", "Every one is one line for the user, and exit code 2.", ""]
    lines += ["| class | |", "|---|---|"]
    for name, said in sorted(errors().items()):
        lines.append(f"| `{name}` | {_cell(said)} |")
    return "\n".join(lines)


def errors() -> dict[str, str]:
    """Every error class of the packages, by its module and name, with its first line."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            if info.name.rsplit(".", 1)[-1] != "errors":
                continue
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if (
                    inspect.isclass(value)
                    and issubclass(value, Exception)
                    and value.__module__ == info.name
                ):
                    found[f"{info.name}.{name}"] = _first_line(value)
    return found


def _public_names() -> str:
    lines = ["## Public names", ""]
    for package in PUBLIC:
        module = importlib.import_module(package)
        lines += [f"### {package}", "", "| name | |", "|---|---|"]
        for name in sorted(module.__all__):
            value = getattr(module, name)
            said = _first_line(value) if inspect.isclass(value) or callable(value) else ""
            lines.append(f"| `{name}` | {_cell(said)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
