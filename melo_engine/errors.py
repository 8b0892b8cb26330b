"""Every error of the engine: one tree. A message says what was got, what is allowed, what to do."""


class MeloError(Exception):
    """Root of the engine's errors. The message is one line that a user can act on."""


class BackboneError(MeloError):
    """A backbone cannot be opened or is not of a kind that can be edited."""


class PromptError(MeloError):
    """A prompt is empty or longer than the backbone takes."""


class RequestError(MeloError):
    """An edit request cannot be carried out as it stands (empty target, unknown label, ...)."""


class SettingsError(MeloError):
    """Settings that nothing can be trained with."""


class IndexMismatch(MeloError):
    """A key or an edit does not fit the neuron index."""


class VersionError(MeloError):
    """A version on disk is damaged, of an unknown schema, or of another backbone."""


class UnknownEdit(MeloError):
    """An edit id that the version does not hold."""


class TrainingError(MeloError):
    """Training broke down (NaN loss, out of memory at a batch of one)."""


def first_line(error: Exception) -> str:
    """The first line of another library's error, for a message; its name where it says nothing."""
    message = str(error).strip()
    return message.splitlines()[0] if message else repr(error)
