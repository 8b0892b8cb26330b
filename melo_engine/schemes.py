"""Numbers that are raised when the engine starts to route or to answer differently.

A stored route, key or answer names the number that it was made under, and is computed again under
another. `tests/melo_engine/test_schemes.py` fails where behaviour has changed and the number
has not.
"""

from __future__ import annotations

from melo_engine.projection import SCHEME as KEYS

ROUTING = 3  # from keys and names to an edit: `index`, `matching`, `Editor.routes`
# From a prompt and a block to a text: `Backbone.encode`, `runtime`, `generating`, the gate's cuts.
ANSWERING = 2

__all__ = ["ANSWERING", "KEYS", "ROUTING"]
