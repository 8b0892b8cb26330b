"""The names of the tags that a version has in MLflow, and of the aliases that may stand for it."""

HASH_TAG, VERDICT_TAG, REASON_TAG = "melo.content_hash", "melo.gate", "melo.gate_reason"
PARENT_TAG, JOB_TAG, CANDIDATE_TAG = "melo.parent", "melo.job", "melo.candidate"
ADDED_TAG, REMOVED_TAG = "melo.added", "melo.removed"
ADDED_COUNT_TAG, REMOVED_COUNT_TAG = "melo.edits_added", "melo.edits_removed"
DASHBOARD_TAG = "melo.dashboard"

CHAMPION, CANDIDATE, PREVIOUS = "champion", "candidate", "previous"
