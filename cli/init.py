"""`melo init`: make a home."""

from __future__ import annotations

import typer

from cli.context import new_app, state

app = new_app()

TEMPLATE = """\
# Settings of this home. What is not set here has its default; MELO_SECTION__NAME in the
# environment is stronger. docs/ledger.md tells what each does.

[backbone]
# path = "path/to/model"        # a local folder or a hub id; without it the demo's backbone
# task = "seq2seq-lm"           # or causal-lm, sequence-classification

[plan]
# max_edits_per_job = 50

[contradictions]
# tie = "newest"                # or "hold": when one source contradicts itself, undated

# [sources.curators]
# trust = 90                    # 0 to 100; the default is 50
# policy = "auto"               # or "review", or "quorum" with quorum = 2
"""


@app.command()
def init(ctx: typer.Context) -> None:
    """Make a home: melo.toml and an empty ledger. What is there is left as it is."""
    here = state(ctx)
    paths = here.settings.paths
    paths.home.mkdir(parents=True, exist_ok=True)
    paths.inbox.mkdir(exist_ok=True)
    if not paths.settings.exists():
        paths.settings.write_text(TEMPLATE, encoding="utf-8")
    with here.ledger():
        pass
    typer.echo(f"{paths.home} is ready. Next: melo ingest PATH, then melo run.")
