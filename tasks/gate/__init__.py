"""The gate: proves on probes that a version answers rightly and that nothing else changed."""

from tasks.gate.cache.answers import AnswerCache
from tasks.gate.errors import CacheError, SuiteError, ThresholdError
from tasks.gate.gate import GateOptions, gate_candidate
from tasks.gate.probes.expectations import register_metric
from tasks.gate.report.page import report_data, write_report
from tasks.gate.suites.files import add_suite, load_suites
from tasks.gate.suites.from_edits import SuiteInputs, suites_for
from tasks.gate.suites.of_ledger import suites_from
from tasks.gate.types import (
    Check,
    Expectation,
    GateResult,
    Probe,
    ProbeResult,
    Rejection,
    Repair,
    Suite,
)
from tasks.gate.verdict.thresholds import Thresholds

__all__ = [
    "AnswerCache",
    "CacheError",
    "Check",
    "Expectation",
    "GateOptions",
    "GateResult",
    "Probe",
    "ProbeResult",
    "Rejection",
    "Repair",
    "Suite",
    "SuiteError",
    "SuiteInputs",
    "ThresholdError",
    "Thresholds",
    "add_suite",
    "gate_candidate",
    "load_suites",
    "register_metric",
    "report_data",
    "suites_for",
    "suites_from",
    "write_report",
]
