"""The errors of `tasks.backbone`: one tree, one line each, fit to be shown to a user."""


class BackboneError(ValueError):
    """A backbone can't be prepared from what was given."""


class EncoderNotFound(BackboneError):
    """The pretrained encoder is neither in the given folder, nor installed, nor on the hub."""


class EncoderMismatch(BackboneError):
    """The encoder's weights aren't the file that the recipe is pinned to."""


class NothingToLearn(BackboneError):
    """No usable (prompt, answer) pair or labelled text is left to train on."""


class OutputTaken(BackboneError):
    """The output folder holds files that no recipe here has written."""


class PackageMissing(BackboneError):
    """A package that the work needs is not installed; the message says which."""


class GgufUnreadable(BackboneError):
    """A GGUF file that is damaged, or of a kind that transformers can't open."""
