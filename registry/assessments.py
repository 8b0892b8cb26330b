"""Assessments on traces of a tracking server: that an edit serves, said once to each trace.

The assessment bears a key in its metadata (`melo.write_back`), by which it is found again: a process
that died before it could put the outcome on record writes no second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.asking import code_of, first_line
from registry.client import import_mlflow
from registry.errors import RegistryUnreachable, UnknownTrace

KEY = "melo.write_back"
SOURCE = "melo"
UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Assessment:
    """Feedback on a trace, or on one span of it. key: by which it is found again."""

    trace: str
    span: str | None
    key: str
    name: str
    value: str
    rationale: str
    metadata: Mapping[str, str]


def write_assessment(tracking_uri: str, assessment: Assessment) -> None:
    """Log feedback on a trace unless it bears this key already.

    Raises UnknownTrace where the server takes nothing for it, RegistryUnreachable where it fails.
    """
    import_mlflow()
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.tracing.client import TracingClient

    feedback = Feedback(
        name=assessment.name,
        value=assessment.value,
        source=AssessmentSource(source_type="CODE", source_id=SOURCE),
        rationale=assessment.rationale,
        metadata={**assessment.metadata, KEY: assessment.key},
        span_id=assessment.span,
    )
    try:
        client = TracingClient(tracking_uri)
        known = client.get_trace(assessment.trace).info.assessments or ()
        if not any((other.metadata or {}).get(KEY) == assessment.key for other in known):
            client.log_assessment(assessment.trace, feedback)
    except Exception as error:  # a database or a network has errors of its own
        kind = UnknownTrace if code_of(error) in UNKNOWN else RegistryUnreachable
        raise kind(first_line(error)[:300]) from None
