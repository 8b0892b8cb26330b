"""What can be wrong with files on disk."""


class ArtifactError(Exception):
    """Root of this package's errors."""


class ManifestError(ArtifactError):
    """A folder without a manifest that this release reads."""
