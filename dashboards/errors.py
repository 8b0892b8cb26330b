"""What can be away while the pages stay."""


class DashboardError(Exception):
    """Base of every error of this package."""


class RegistryAway(DashboardError):
    """MLflow's store or server can't be read at the moment."""


class VersionAway(DashboardError):
    """A version's files are not on this machine, or can't be read."""


class NoAnswer(DashboardError):
    """The process that answers questions is away, or refused this one."""


class Refused(DashboardError):
    """A decision that the ledger or the key does not allow."""


class UnknownRecord(DashboardError):
    """The ledger has no version or edit of this name."""
