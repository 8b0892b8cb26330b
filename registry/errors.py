"""What can go wrong with MLflow. A message is one line that a user can act on."""


class RegistryError(Exception):
    """Root of this package's errors: MLflow holds something else than expected, or refuses a change."""


class UnknownTrace(RegistryError):
    """The tracking server knows no such trace, or takes nothing for it."""


class RegistryUnreachable(RegistryError):
    """MLflow's server or database does not answer. reason: the first line of what it or we said."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the MLflow registry does not answer: {reason}")
        self.reason = reason


class NoStore(RegistryError):
    """The home has no database of MLflow yet."""


class NotInRegistry(RegistryError):
    """Files of a version that MLflow does not hold, or holds no more."""
