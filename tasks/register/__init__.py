"""From a gated version to the one that serves: the MLflow registry and promotion."""

from tasks.register.promote import Promotion, promote, roll_back
from tasks.register.store import Registry
from tasks.register.upload import register

__all__ = ["Promotion", "Registry", "promote", "register", "roll_back"]
