"""The sections of melo.toml: every setting, with its default and its bounds."""

from __future__ import annotations

import codecs
import re
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Policy = Literal["auto", "quorum", "review"]


class Section(BaseModel):
    """One table of melo.toml; a name that isn't known is an error."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class BackboneSettings(Section):
    """The frozen model that is edited."""

    model_config = ConfigDict(frozen=True)  # the models that are open are kept by it

    path: str | None = Field(
        default=None,
        description="smollm2, a local folder, a GGUF file or a hub id; none: one that is prepared here",
    )
    task: Literal["seq2seq-lm", "causal-lm", "sequence-classification"] | None = Field(
        default=None, description="none: told from the model's architecture"
    )
    max_prompt_tokens: int | None = Field(
        default=None, ge=8, description="none: as many as the model has room for"
    )
    chat: Literal["auto", "always", "never"] = Field(
        default="auto", description="render prompts by the chat template; auto: where there is one"
    )
    system_prompt: str | None = Field(
        default=None, description="put before conversations that bring none"
    )
    device: str = Field(default="auto", description="cpu, cuda or cuda:N; auto: a GPU where one is")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="number format of the weights"
    )


class EditingSettings(Section):
    """How a block is trained and how a prompt is routed to it."""

    rank: int = Field(default=4, ge=1, description="of a block at the first try")
    max_rank: int = Field(default=16, ge=1, description="of the last try; at least rank")
    learning_rate: float = Field(default=1.5e-2, gt=0, description="of AdamW")
    max_steps: int = Field(default=60, ge=1, description="of the first try")
    false_activation_rate: float = Field(
        default=0.005,
        gt=0,
        lt=1,
        description="share of near-misses that may fall within a radius when it is calibrated",
    )
    key_reader: Literal["auto", "hidden-states", "sentence-encoder"] = Field(
        default="auto",
        description="what reads keys; auto: a sentence encoder for chat models, else the backbone",
    )
    threads: int = Field(default=2, ge=1, description="of torch, on a CPU")

    @model_validator(mode="after")
    def _max_rank_at_least_rank(self) -> EditingSettings:
        if self.max_rank < self.rank:
            raise ValueError(f"max_rank must be at least rank, which is {self.rank}")
        return self


class PlanSettings(Section):
    """How edits become jobs and who may hold one for how long."""

    max_edits_per_job: int = Field(default=50, ge=1, description="trained and gated together")
    enough_edits: int = Field(default=10, ge=1, description="a run begins at once where they wait")
    max_jobs: int = Field(default=200, ge=1, description="planned at once; the rest stays ready")
    lease_seconds: float = Field(
        default=900.0, gt=0, description="without a sign of life, after which a job is taken over"
    )
    max_attempts: int = Field(default=3, ge=1, description="at a job; then its edits are rejected")


class SourceSettings(Section):
    """How far one source is trusted."""

    trust: int = Field(default=50, ge=0, le=100, description="the higher one wins a contradiction")
    policy: Policy = Field(
        default="auto",
        description="auto: taken as it comes; quorum: when enough sources agree; review: by a person",
    )
    quorum: int = Field(default=2, ge=1, description="independent sources, for policy quorum")
    max_per_hour: int | None = Field(
        default=None, ge=1, description="reports beyond are held for review; none: no bound"
    )


class ContradictionSettings(Section):
    """What decides when nothing else does, and what counts as the same question."""

    tie: Literal["newest", "hold"] = Field(
        default="newest", description="between two answers of one source: the later one, or neither"
    )
    same_subject: Literal["alike", "always", "never"] = Field(
        default="alike",
        description="two answers about one subject contradict where the questions are alike by "
        "the engine's keys, always (one relation a subject), or only where a wording is shared",
    )
    alike: float = Field(default=0.9, gt=0, le=1, description="cosine of keys from which on")


class IngestSettings(Section):
    """Sizes and shapes of input."""

    max_prompt_chars: int = Field(default=8_000, ge=1, description="longer ones are quarantined")
    max_target_chars: int = Field(default=2_000, ge=1, description="longer ones are quarantined")
    max_list_items: int = Field(
        default=64, ge=0, description="aliases, rephrases or locality questions of one report"
    )
    max_line_bytes: int = Field(default=1_048_576, ge=64, description="longer ones are quarantined")
    chunk_lines: int = Field(default=368_640, ge=1, description="taken in one transaction")
    preset: str = Field(default="melo", description="shape of lines that tell nothing of their own")
    max_file_bytes: int = Field(default=64 * 2**30, ge=1, description="unpacked")
    encoding: str | None = Field(
        default=None,
        description="code page of texts that are no UTF-8, as cp1252; none: refuse them",
    )
    mlflow_tracking_uri: str | None = Field(
        default=None,
        description="where `mlflow:EXPERIMENT` reads traces; none: the registry's store",
    )

    @field_validator("encoding")
    @classmethod
    def _is_a_code_page(cls, name: str | None) -> str | None:
        if name is None:
            return None
        try:
            plain = bytes(range(32, 127)).decode(name)
        except (LookupError, ValueError):
            plain = ""
        if not plain.startswith(' !"#$') or len(plain) < 90:
            raise ValueError(
                f"no code page {name!r}: give one as cp1252 or latin-1; UTF-16 and UTF-32 tell themselves"
            )
        return codecs.lookup(name).name


class LocalityShape(Section):
    """Where the questions stand whose answers must stay."""

    list: str | None = Field(default=None, description="path of a list of objects")
    prompt: str = Field(default="prompt", description="name of the question in each object")
    answer: str = Field(default="answer", description="name of the answer in each object")
    prompts: str | None = Field(default=None, description="path of one or more questions")
    answers: str | None = Field(default=None, description="path of the answers to them")


class PresetSettings(Section):
    """A shape of input: for each field the JSON path, or paths, where it stands."""

    fields: dict[str, str | list[str]] = Field(
        default={}, description="JSON paths by field: prompt, target, subject and others"
    )
    locality: LocalityShape = Field(
        default=LocalityShape(), description="a table: list, prompt, answer, prompts, answers"
    )


class GateSettings(Section):
    """Which thresholds a version must meet, and what proving it may cost."""

    thresholds: str | None = Field(default=None, description="a YAML file; none: the built-in one")
    sample: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of cached answers asked again; none: as the thresholds say",
    )
    narrow: Literal["keep", "reject"] = Field(
        default="keep",
        description="new edits that are right but not found in all wordings of their question",
    )
    tokens_per_edit: int | None = Field(
        default=150, ge=0, description="that the measures of one edit may draw; none: no bound"
    )


class RegistrySettings(Section):
    """The MLflow registry."""

    model_name: str = Field(
        default="melo",
        max_length=100,
        description="letters, digits, spaces, dots, _ and -; the backbone's name is added to it",
    )
    promotion: Literal["auto", "manual"] = Field(
        default="auto",
        description="auto: what passes its gate serves; manual: `melo versions promote`",
    )
    tracking_uri: str | None = Field(default=None, description="none: SQLite in the home")

    @field_validator("model_name")
    @classmethod
    def _is_a_name_for_mlflow(cls, name: str) -> str:
        """MLflow refuses some names, and can't be asked for others, like those with a quote."""
        if not re.fullmatch(r"\w([\w .-]*\w)?", name):
            raise ValueError(
                "MLflow takes no such name. Give letters, digits, spaces, dots, _ and -, beginning "
                "and ending with a letter or digit"
            )
        return name


class ServeSettings(Section):
    """The HTTP service: where it listens, whom it lets in, how much it takes on, what it keeps."""

    host: str = Field(default="127.0.0.1", description="address that the service listens at")
    port: int = Field(default=8080, ge=0, le=65535, description="0: any free one")
    auth: Literal["keys", "none"] = Field(default="keys", description="none: on loopback only")
    open_metrics: bool = Field(default=False, description="/metrics without a key")
    parallel: int = Field(
        default=1, ge=1, description="batches at once, of those that no answer can join later"
    )
    max_batch: int = Field(default=32, ge=1, description="answers in one batch")
    batch_wait_ms: float = Field(default=4.0, ge=0, description="for a batch to fill, under load")
    prefix_cache_mb: int = Field(
        default=512, ge=0, description="of prompts' states, kept for others that begin alike"
    )
    kv_cache_mb: int = Field(
        default=4096, ge=1, description="of running answers' states; beyond, the next one waits"
    )
    queue: int = Field(default=256, ge=1, description="answers that may wait; beyond: 429")
    max_tokens: int | None = Field(
        default=None, ge=1, description="longest answer; none: as long as the model has room for"
    )
    max_body_bytes: int = Field(default=1_048_576, ge=1024, description="of a request; beyond: 413")
    requests_per_minute: int | None = Field(default=None, ge=1, description="of one key")
    request_seconds: float = Field(
        default=60.0, gt=0, description="for an answer; one without max_tokens ends there"
    )
    read_seconds: float = Field(default=10.0, gt=0, description="for a client to send a request")
    reload_seconds: float = Field(default=1.0, gt=0, description="how often aliases are looked at")
    cors_origins: list[str] = Field(
        default=[], description="pages of these origins may ask from a browser; *: of all"
    )
    pinned: int = Field(default=2, ge=0, description="versions kept open for who asks for one")
    canary: float = Field(default=0.0, ge=0, le=1, description="share that the candidate answers")
    shadow: float = Field(default=0.0, ge=0, le=1, description="share it answers on the side")
    record: bool = Field(default=True, description="write HOME/traffic")
    record_prompts: bool = Field(default=False, description="with prompts and answers")
    record_days: int = Field(default=30, ge=1, description="after which HOME/traffic is cleared")
    remember: int = Field(default=10_000, ge=0, description="answers that feedback can refer to")

    @model_validator(mode="before")
    @classmethod
    def _without_chat(cls, values: Any) -> Any:
        if isinstance(values, dict) and "chat" in values:
            raise ValueError(
                "chat is gone: a conversation is rendered whole by the model's template and its edit is "
                "found by what is asked. Take it out; backbone.chat and backbone.system_prompt say how"
            )
        return values


class LedgerSettings(Section):
    """Where the ledger is."""

    url: str | None = Field(
        default=None, description="a DuckDB file; none: ledger.duckdb in the home"
    )
    timeout_seconds: float = Field(
        default=120.0, gt=0, description="to wait for another process that has the ledger"
    )
    threads: int = Field(default=2, ge=1, description="of DuckDB")


class AlertSettings(Section):
    """Who is told, and of what."""

    webhook_url: SecretStr | None = Field(default=None, description="alerts are posted there")
    backlog_hours: float = Field(default=24.0, gt=0, description="an edit may wait this long")
    no_run_hours: float = Field(default=2.0, gt=0, description="an edit run is to end this often")


class WriteBackSettings(Section):
    """Who is told, where reports came from, that an edit serves; nobody unless it is set."""

    mlflow: bool = Field(
        default=False, description="feedback on the traces that ingest.mlflow_tracking_uri gave"
    )
    langfuse_url: str | None = Field(
        default=None, description="of a Langfuse server, which gets a score on the trace"
    )
    langfuse_public_key: SecretStr | None = Field(
        default=None, description="of the project that the traces are in"
    )
    langfuse_secret_key: SecretStr | None = Field(default=None, description="that goes with it")
    webhook_url: SecretStr | None = Field(
        default=None, description="gets a POST for each edit that serves"
    )
    name: str = Field(default="melo.edit", min_length=1, description="of the feedback and score")


class DashboardSettings(Section):
    """The pages to look at."""

    port: int = Field(default=8501, ge=0, le=65535, description="0: any free one")
    url: str | None = Field(
        default=None, description="what Prefect and MLflow link to; none: this machine and port"
    )


class UpSettings(Section):
    """What `melo up` starts beside servers, workers and schedules, at the ports of their sections."""

    serve: bool = Field(default=True, description="the HTTP service, where a backbone is set")
    dashboard: bool = Field(default=True, description="the pages to look at")


class DatabaseSettings(Section):
    """A PostgreSQL server for Prefect and MLflow, in place of SQLite in the home."""

    url: SecretStr | None = Field(
        default=None,
        description="postgresql://user:password@host:port/name; two databases are made beside "
        "it, name_prefect and name_mlflow",
    )

    def beside(self, name: str, driver: str = "postgresql") -> str | None:
        """URL of the database `<name of the given one>_<name>`; None where none is set."""
        if self.url is None:
            return None
        parts = urlsplit(self.url.get_secret_value())
        return urlunsplit(parts._replace(scheme=driver, path=f"{parts.path}_{name}"))

    @field_validator("url")
    @classmethod
    def _is_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(url.get_secret_value()) if url else None
        if parts and (not parts.scheme.startswith("postgres") or not parts.path.strip("/")):
            raise ValueError("give postgresql://user:password@host:port/name")
        return url


class WorkerSettings(Section):
    """How a job's training is spread."""

    gpu: int = Field(default=1, ge=1, description="workers that train at once")
    shard_edits: int = Field(default=64, ge=1, description="edits that one of them trains at once")
    runner: Literal["pool", "dask", "ray"] = Field(
        default="pool", description="Prefect's work pool, or its Dask or Ray task runner"
    )
    address: str | None = Field(
        default=None, description="of a Dask or Ray cluster; none: processes of this machine"
    )
    begin_seconds: float = Field(
        default=60.0, gt=0, description="after which a shard that no worker has begun is taken back"
    )
    patience_seconds: float = Field(
        default=3600.0, gt=0, description="after which a shard that is not there is trained here"
    )
