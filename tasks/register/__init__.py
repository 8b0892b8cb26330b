"""From a gated version to the one that serves: the MLflow registry and promotion."""

from tasks.register.promote import Promotion, promote
from tasks.register.upload import log_audit, log_fruitless, register, register_whole

__all__ = [
    "Promotion",
    "log_audit",
    "log_fruitless",
    "promote",
    "register",
    "register_whole",
]
