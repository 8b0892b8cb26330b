"""The step: tell the tools that reports came from that an edit serves. Off unless `[write_back]` is set.

    ledger: intent ──► MLflow    feedback on the trace, found again by its key
                       Langfuse  a score whose id is the key: written again, it is the same one
                       webhook   a POST with the key as Idempotency-Key; never sent again once it may
                                 have arrived
                   ──► ledger: outcome

A tool that fails (429, 5xx, away) is left until the next run, with one event; what it refuses (404, 400)
is on record and not tried again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from config import Settings
from execution.context import Context
from ledger import EditRecord, Ledger, WriteBack
from registry.assessments import Assessment, write_assessment
from registry.errors import RegistryUnreachable, UnknownTrace

PATIENCE = 20.0  # seconds for an answer
PASSES = {408, 425, 429}  # of the client errors those that may pass
VALUE = "serves"


class Later(Exception):
    """The tool can't be told now; nothing has arrived."""


class Refusal(Exception):
    """The tool will not take it."""


class Doubt(Exception):
    """It may have arrived: no answer came."""


@dataclass
class SendCounts:
    """How many places were told now, refused, are in doubt, and are left for the next run."""

    told: int = 0
    refused: int = 0
    unknown: int = 0
    left: int = 0


def configured(settings: Settings) -> bool:
    """Whether anybody is to be told."""
    return bool(_senders(settings))


def write_back(context: Context) -> SendCounts:
    """Tell every configured tool what is due. One process at a time; a dead one's rest is taken up."""
    senders = _senders(context.settings)
    counts = SendCounts()
    if not senders:
        return counts
    with context.settings.paths.write_back_lock.open("a") as lock:
        try:
            fcntl.flock(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # the kernel frees a dead process's lock
        except BlockingIOError:
            return counts
        context.ledger.write_backs.note(list(senders))
        for tool, send in senders.items():
            _send_due(context.ledger, tool, send, counts)
    return counts


def _send_due(
    ledger: Ledger, tool: str, send: Callable[[WriteBack, EditRecord], None], counts: SendCounts
) -> None:
    due = ledger.write_backs.find(tools=[tool], states=("waiting", "begun", "failed"))
    for number, place in enumerate(due):
        if place.state == "begun" and tool == "webhook":
            ledger.write_backs.end(place.key, "unknown", "its sender died; it may have arrived")
            counts.unknown += 1
            continue
        if not ledger.write_backs.begin(place.key):
            continue
        try:
            send(place, ledger.edits.get(place.edit))
        except Refusal as error:
            ledger.write_backs.end(place.key, "refused", str(error)[:500])
            counts.refused += 1
        except Doubt as error:
            ledger.write_backs.end(place.key, "unknown", str(error)[:500])
            counts.unknown += 1
        except Later as error:
            ledger.write_backs.end(place.key, "failed", str(error)[:500])
            counts.left += len(due) - number
            ledger.events.record(
                "write-back-failed",
                f"{tool} can't be told that edits serve: {error}"[:500],
                severity="warning",
            )
            return
        else:
            ledger.write_backs.end(place.key, "done")
            counts.told += 1


def _senders(settings: Settings) -> dict[str, Callable[[WriteBack, EditRecord], None]]:
    """How each configured tool is told."""
    wanted = settings.write_back
    senders: dict[str, Callable[[WriteBack, EditRecord], None]] = {}
    if wanted.mlflow:
        senders["mlflow"] = lambda place, edit: _send_to_mlflow(settings, place, edit)
    if wanted.langfuse_url is not None:
        senders["langfuse"] = lambda place, edit: _send_to_langfuse(settings, place, edit)
    if wanted.webhook_url is not None:
        senders["webhook"] = lambda place, edit: _send_to_webhook(settings, place, edit)
    return senders


def _send_to_mlflow(settings: Settings, place: WriteBack, edit: EditRecord) -> None:
    where = settings.ingest.mlflow_tracking_uri or settings.tracking_uri
    try:
        write_assessment(
            where,
            Assessment(
                place.trace or "",
                place.span,
                place.key,
                settings.write_back.name,
                VALUE,
                rationale=_text(edit),
                metadata={"edit": edit.id, "version": edit.version or ""},
            ),
        )
    except UnknownTrace as error:
        raise Refusal(str(error)) from None
    except RegistryUnreachable as error:
        raise Later(str(error)) from None


def _send_to_langfuse(settings: Settings, place: WriteBack, edit: EditRecord) -> None:
    wanted = settings.write_back
    body = {
        "id": f"melo-{place.key}",
        "traceId": place.trace,
        "observationId": place.span,
        "name": wanted.name,
        "value": VALUE,
        "dataType": "CATEGORICAL",
        "comment": _text(edit),
    }
    assert wanted.langfuse_url is not None
    keys = (wanted.langfuse_public_key, wanted.langfuse_secret_key)
    auth = tuple(key.get_secret_value() if key else "" for key in keys)
    try:
        _post(f"{wanted.langfuse_url.rstrip('/')}/api/public/scores", body, auth=auth)
    except Doubt as error:  # sent again it is the same score
        raise Later(str(error)) from None


def _send_to_webhook(settings: Settings, place: WriteBack, edit: EditRecord) -> None:
    body = {
        "event": "melo.edit.serves",
        "key": place.key,
        "edit": edit.id,
        "prompt": edit.prompt,
        "target": edit.target,
        "source": edit.source,
        "version": edit.version,
        "reports": edit.reported,
        "text": _text(edit),
    }
    url = settings.write_back.webhook_url
    assert url is not None
    _post(url.get_secret_value(), body, headers={"Idempotency-Key": place.key})


def _post(url: str, body: dict[str, Any], **more: Any) -> None:
    """POST JSON. Raises Later, Refusal, Doubt; no message holds the address, which may be a secret."""
    sent = {name: value for name, value in body.items() if value is not None}
    try:
        answer = httpx.post(url, json=sent, timeout=PATIENCE, follow_redirects=False, **more)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Later(f"no connection ({type(error).__name__})") from None
    except httpx.TransportError as error:
        raise Doubt(f"no answer came ({type(error).__name__})") from None
    except (httpx.InvalidURL, httpx.HTTPError) as error:
        raise Refusal(f"the address can't be used ({type(error).__name__})") from None
    if answer.is_success:
        return
    problem = f"it answered {answer.status_code}"
    if answer.status_code in PASSES or answer.status_code >= 500:
        raise Later(problem)
    raise Refusal(problem)


def _text(edit: EditRecord) -> str:
    version = (edit.version or "")[:12]
    return f'edit {edit.id[:12]} serves in version {version}: the answer is "{edit.target}"'
