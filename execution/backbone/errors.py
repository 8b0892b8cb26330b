"""What is wrong with a backbone's folder or file: one tree, one line each, fit to be shown to a user."""


class BackboneFolderError(ValueError):
    """A backbone can't be prepared from what was given."""


class OutputTaken(BackboneFolderError):
    """The output folder holds files that no recipe here has written."""


class PackageMissing(BackboneFolderError):
    """A package that the work needs is not installed; the message says which."""


class GgufUnreadable(BackboneFolderError):
    """A GGUF file that is damaged, or of a kind that transformers can't open."""
