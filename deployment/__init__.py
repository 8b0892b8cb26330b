"""The pipeline at work: the main job in this process, or servers and workers kept alive."""
