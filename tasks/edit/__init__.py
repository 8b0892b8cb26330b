"""The step that trains: a leased job becomes a candidate version, in one piece or in shards."""

from tasks.edit.job import TrainedJob, edit_job, restored, trained

__all__ = ["TrainedJob", "edit_job", "restored", "trained"]
