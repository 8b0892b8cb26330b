"""gate.json and gate.html: one page that needs nothing beside it."""
