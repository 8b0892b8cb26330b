"""When and in which order the steps run."""
