"""What can go wrong in serving."""


class ServingError(Exception):
    """Root of the service's errors."""


class VersionUnusable(ServingError):
    """A version that is not served: damaged, not gated, not to be found."""


class KeyProblem(ServingError):
    """A key that can't be added or is not there."""


class CanNotServe(ServingError):
    """The service can't start as it is set up."""


class RequestRefused(ServingError):
    """A request that gets no answer: HTTP status, a code for programs, a line for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after


def client_gone() -> RequestRefused:
    """What nobody reads, but the metrics count."""
    return RequestRefused(499, "cancelled", "the client has gone.")
