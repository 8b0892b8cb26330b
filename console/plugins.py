"""Commands that other packages plug into `melo`, by an entry point of the group `melo.commands`.

    [project.entry-points."melo.commands"]
    bench = "benchmarks.commands.group:app"     # a typer app, imported when the command is called

What such a package raises from a module named `errors` is told in one line, as the product's own errors.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

GROUP = "melo.commands"


def plugged_in() -> dict[str, EntryPoint]:
    """The entry points of the packages that are installed, by the name of their command."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def one_line_help(entry: EntryPoint) -> str:
    """What the package says of itself, so that nothing is imported for a list of commands."""
    return str(entry.dist.metadata["Summary"] or "") if entry.dist else ""
