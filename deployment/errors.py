"""Every error of a deployment: a message says what was got, what is allowed, what to do."""


class DeploymentError(Exception):
    """A server, database or schedule of a deployment that does not come up or can't be applied."""
