"""What can be wrong with the settings."""


class ConfigError(Exception):
    """A setting that can't be used; the message names it and what is allowed."""
