"""What can go wrong with the ledger, each with a message that says what to do next."""


class LedgerError(Exception):
    """Base of every error of this package."""


class LedgerBusy(LedgerError):
    """Another process kept the ledger's file for longer than the time-out."""


class LedgerTooNew(LedgerError):
    """The file was written by a newer release than this one."""


class LedgerTooOld(LedgerError):
    """An older release wrote the file; it is brought up when it is opened to write."""


class NotALedger(LedgerError):
    """The file exists and is not a ledger that can be opened."""


class UnknownId(LedgerError):
    """No edit, job, version or source of this name is on record."""


class IllegalTransition(LedgerError):
    """The state machine does not have this step."""


class LeaseLost(LedgerError):
    """The job is held by somebody else now; whatever was made for it must be thrown away."""


class ChampionMoved(LedgerError):
    """The champion is not the version that the caller believed it to be."""


class FileMoved(LedgerError):
    """Another process has read further in the same input file."""
