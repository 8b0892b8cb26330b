"""The errors of preparing a backbone, beside those of its folder."""

from execution.backbone.errors import BackboneFolderError


class EncoderNotFound(BackboneFolderError):
    """The pretrained encoder is neither in the given folder, nor installed, nor on the hub."""


class EncoderMismatch(BackboneFolderError):
    """The encoder's weights aren't the file that the recipe is pinned to."""


class NothingToLearn(BackboneFolderError):
    """No usable (prompt, answer) pair or labelled text is left to train on."""
