"""One way to ask MLflow: what it does not know is None, and every failure is one error of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from registry.errors import RegistryUnreachable

Answer = TypeVar("Answer")


def ask(question: Callable[[], Answer]) -> Answer | None:
    """Return what MLflow says, None where it knows nothing of it. Raises RegistryUnreachable."""
    try:
        return question()
    except Exception as error:  # a database or a network has errors of its own
        if code_of(error) == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise RegistryUnreachable(first_line(error)) from None


def code_of(error: Exception) -> str | None:
    """The code of an error of MLflow's, None of any other."""
    return getattr(error, "error_code", None)


def first_line(error: BaseException) -> str:
    """What an error says first, its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
