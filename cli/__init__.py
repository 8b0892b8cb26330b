"""The `melo` command."""
