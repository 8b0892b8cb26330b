"""Two hosts share a ledger and an MLflow store, and set the aliases at once: real processes.

Each host is a process with a home of its own, so that no lock file in a home is between them.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.tags import HASH_TAG
from config import Settings, load
from execution.context import Context, open_ledger
from execution.versions import Versions
from ledger import Ledger
from registry.store import Registry
from tasks.register.promote import follow
from tests.conftest import make_home

VERSIONS = [f"{number}" * 32 for number in range(1, 5)]  # registered as numbers 1 to 4

HOST = """
import sys
from config import load
from ledger import ChampionMoved
from registry.store import Registry
from tasks.register.promote import follow
from execution.versions import Versions
from execution.context import Context, open_ledger

home, stalls, *targets = sys.argv[1:]
settings = load(home)
ledger = open_ledger(settings)
_ = Versions(settings).backbone
set_alias = Registry.set_alias

def stalled(self, name, alias, number):
    Registry.set_alias = set_alias
    print("about to set", number, flush=True)
    sys.stdin.readline()
    return set_alias(self, name, alias, number)

def change(target):
    while (now := ledger.champions.current().version) != target:
        try:
            ledger.champions.set(target, expected=now, actor=home, reason="test")
        except ChampionMoved:
            continue
        return

print("ready", flush=True)
sys.stdin.readline()
if stalls == "stalls":
    Registry.set_alias = stalled
for target in targets:
    change(target)
    follow(Context(settings, ledger))
"""


@pytest.fixture
def hosts(home: Settings, tmp_path: Path) -> list[Settings]:
    """Two homes with one ledger and one store, in which four versions are registered."""
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    registry.client.create_registered_model(name)
    with open_ledger(home) as ledger:
        for version in VERSIONS:
            made = registry.client.create_model_version(
                name, source=str(tmp_path), tags={HASH_TAG: version}
            )
            ledger.versions.record(version, parent=None, job_id=None)
            ledger.versions.note(version, {}, registry_version=str(made.version))
        ledger.champions.set(VERSIONS[0], expected=None, actor="test", reason="the first")
    shared = (
        f'\n[ledger]\nurl = "{home.paths.ledger}"\n'
        f'[registry]\ntracking_uri = "{home.tracking_uri}"\n'
    )
    homes = []
    for host in ("one", "two"):
        settings = make_home(tmp_path / host, Path(str(home.backbone.path)))
        with settings.paths.settings.open("a") as file:
            file.write(shared)
        homes.append(load(settings.home))
    return homes


def start(host: Settings, targets: list[str], *, stalls: bool = False) -> subprocess.Popen[str]:
    """A process that makes one version after the other the champion; it waits for a line first."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, str(host.home), "stalls" if stalls else "runs", *targets],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert heard(process) == "ready"
    return process


def heard(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def aliases(home: Settings) -> dict[str, str]:
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    return {k: str(v) for k, v in registry.client.get_registered_model(name).aliases.items()}


def on_record(home: Settings) -> dict[str, str]:
    """What the aliases must be by the ledger."""
    champion = Ledger.open(home.paths.ledger).champions.current()
    assert champion is not None
    named = {"champion": champion.version, "previous": champion.previous}
    return {alias: version[0] for alias, version in named.items() if version}


def test_aliases_set_by_two_hosts_at_once_agree_with_the_record_at_the_end(
    hosts: list[Settings],
) -> None:
    chosen = random.Random(0)
    processes = [start(host, chosen.choices(VERSIONS, k=25)) for host in hosts]
    for process in processes:
        go_on(process)
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert aliases(hosts[0]) == on_record(hosts[0])


def test_a_host_that_was_slow_to_set_an_alias_does_not_undo_a_later_promotion(
    hosts: list[Settings],
) -> None:
    late = start(hosts[0], [VERSIONS[1]], stalls=True)
    go_on(late)
    assert heard(late) == "about to set 2"
    other = start(hosts[1], [VERSIONS[2]])
    go_on(other)
    assert other.wait(timeout=120) == 0
    assert aliases(hosts[0]) == {"champion": "3", "previous": "2"}
    go_on(late)
    assert late.wait(timeout=120) == 0
    assert aliases(hosts[0]) == on_record(hosts[0]) == {"champion": "3", "previous": "2"}


def test_aliases_that_agree_are_not_set_again(hosts: list[Settings]) -> None:
    with open_ledger(hosts[0]) as ledger:
        assert follow(Context(hosts[0], ledger))
        assert not follow(Context(hosts[1], ledger))
