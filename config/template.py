"""The melo.toml of a new home: every setting that most homes need, as comments."""

from __future__ import annotations

TEMPLATE = """\
# Settings of this home. What is not set here has its default; MELO_SECTION__NAME in the
# environment is stronger. docs/ledger.md tells what each does.

[backbone]
# path = "smollm2"              # or a local folder, a GGUF file, a hub id
# task = "causal-lm"            # or seq2seq-lm, sequence-classification; without it told by the model

[plan]
# max_edits_per_job = 50

[contradictions]
# tie = "newest"                # or "hold": when one source contradicts itself, undated

# [sources.curators]
# trust = 90                    # 0 to 100; the default is 50
# policy = "auto"               # or "review", or "quorum" with quorum = 2
"""
