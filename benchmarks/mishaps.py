"""The steps of `melo bench situations`: what a user or a machine does to a home, each with its checks.

A step is given the world, changes it, and says whether it could be done at all (nothing to revoke, no
champion before this one: left out). What may end with it, it notes in `may_end`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import psutil

from benchmarks.fault_injection import may_mount, small_disk
from benchmarks.tiny import PEOPLE, reports, write_lines
from benchmarks.world import World, edit_all, fingerprint
from config import load
from execution.context import Context, open_ledger
from execution.lineage import BASE
from ledger import EditRecord
from registry.relocation import put_right
from tasks.ingest import ingest_paths
from tasks.reconcile import reconcile
from tasks.revoke import revoke
from tasks.rollback import roll_back

KILL_WITHIN = 25.0  # seconds after the start of `melo run`
PATIENCE = 300.0  # seconds for a `melo run` of one report
DISK = "128m"
DATES = date(2020, 1, 1)  # and as many days as places were used
DEAD = "http://127.0.0.1:9"
ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {"http_proxy": DEAD, "HTTPS_PROXY": DEAD, "ALL_PROXY": "socks5://127.0.0.1:9"},
    {"HTTP_PROXY": DEAD, "NO_PROXY": "internal.example,10.0.0.0/8"},
    {"MLFLOW_RUN_ID": "abc", "MLFLOW_EXPERIMENT_ID": "77", "MLFLOW_TRACKING_URI": DEAD},
    {"PREFECT_API_URL": f"{DEAD}/api", "PREFECT_API_KEY": "old", "PREFECT_PROFILE": "theirs"},
    {"PREFECT_HOME": "/nonexistent/prefect", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"},
)


def new_reports(world: World) -> bool:
    """One to three reports, at times one that came before."""
    rows = [world.report(next(world.names)) for _ in range(world.dice.randint(1, 3))]
    if world.active and world.dice.random() < 0.3:
        with world.ledger() as ledger:
            edit = ledger.edits.get(world.dice.choice(sorted(world.active)))
        rows.append(world.report(edit.subject or "", edit.target))
        world.may_end.discard(edit.prompt)
    world.run([world.file(rows)])
    return True


def siblings(world: World) -> bool:
    """A subject whose name contains another's, in one job or one after the other."""
    short, extra = next(world.names), next(world.names)
    rows = [world.report(name) for name in (short, f"{short} {extra}", f"{extra} {short}")]
    for row, person in zip(rows, world.dice.sample(PEOPLE, 3), strict=True):
        row["target"] = person
    world.dice.shuffle(rows)
    if world.dice.random() < 0.5:
        world.run([world.file(rows)])
    else:
        for row in rows:
            world.run([world.file([row])])
    return True


def re_edit(world: World) -> bool:
    """A question that is answered gets another answer: the newest, or by its date one from before."""
    edit = _active_edit(world)
    if edit is None:
        return False
    with world.ledger() as ledger:
        prior = {e.target: e for e in ledger.edits.find() if e.prompt == edit.prompt}
    over = {person for person, e in prior.items() if e.state in ("active", "revoked", "rejected")}
    target = world.dice.choice([person for person in PEOPLE if person not in over])
    row = world.report(edit.subject or "", target)
    if target in prior or any(e.valid_from for e in prior.values()) or world.dice.random() < 0.5:
        row["valid_from"] = f"{DATES + timedelta(days=world.places):%Y-%m-%d}"
    world.run([world.file([row])])
    with world.ledger() as ledger:
        edits = [e for e in ledger.edits.find() if e.prompt == edit.prompt]
        reasons = {f"{e.target}, {e.state}": ledger.edits.history(e.id)[-1].reason for e in edits}
    now = [e.target for e in edits if e.state == "active"]
    world.expect(now == [target], f"{edit.prompt} was to be {target} and is {now}: {reasons}")
    return True


def revocation(world: World) -> bool:
    """An active edit is revoked."""
    edit = _active_edit(world)
    if edit is None:
        return False
    world.may_end = {edit.prompt}
    with world.ledger() as ledger:
        revoke(Context(world.settings, ledger), [edit.id], actor="bench", reason="drawn")
        state = ledger.edits.get(edit.id).state
    world.expect(state == "revoked", f"{edit.prompt} was revoked and is {state}")
    return True


def rollback(world: World) -> bool:
    """The champion before this one, or the backbone, serves again; at times for good."""
    with world.ledger() as ledger:
        champion = ledger.champions.current()
        if champion is None or champion.previous is None:
            return False
        before = {edit.id for edit in ledger.edits.active()}
        target = world.dice.choice([None, None, BASE])
        roll_back(Context(world.settings, ledger), target, actor="bench", reason="drawn")
        stays = world.dice.random() < 0.3
        if stays:
            world.may_end = set(world.active.values())
        else:
            roll_back(
                Context(world.settings, ledger), champion.version, actor="bench", reason="drawn"
            )
            now = {edit.id for edit in ledger.edits.active()}
            world.expect(now == before, f"a return lost {before - now}, added {now - before}")
    return True


def odd_file(world: World) -> bool:
    """A file as some tool writes it. Each kind says how many of its lines are reports and are not."""
    kind = world.dice.choice(("mark", "nan", "quote", "semicolon", "array", "empty"))
    row = world.report(next(world.names))
    line = json.dumps(row)
    unread = next(world.names)
    suffix, text, accepted, refused = {
        "mark": (".jsonl", f"\ufeff{line}\n", 1, 0),
        "nan": (".jsonl", line.replace(f'"{row["target"]}"', "NaN") + "\n", 1, 0),
        "quote": (
            ".csv",
            f'prompt,target\n"{row["prompt"]}","ada\nwho leads {unread} ?,jon\n',
            0,
            1,
        ),
        "semicolon": (".csv", _semicolons(row), 1, 0),
        "array": (".json", f'[{line}, {{"prompt": "who leads {unread} ?", "tar', 1, 1),
        "empty": (".jsonl", "", 0, 0),
    }[kind]
    path = world.fresh().with_suffix(suffix)
    path.write_text(text, encoding="utf-8")
    with world.ledger() as ledger:
        outcome = ingest_paths(Context(world.settings, ledger), [path])
    world.lines += outcome.total("lines")
    got = (outcome.total("accepted"), outcome.total("quarantined"))
    world.expect(got == (accepted, refused), f"{kind}: accepted and quarantined are {got}")
    world.run()
    with world.ledger() as ledger:
        now = [edit.target for edit in ledger.edits.active() if edit.prompt == row["prompt"]]
    right = (
        [row["target"]] if accepted and kind != "nan" else []
    )  # NaN is no answer: one is awaited
    world.expect(now == right, f"{kind}: {row['prompt']} was to be {right} and is {now}")
    return True


def _semicolons(row: dict[str, str]) -> str:
    """The report as a spreadsheet writes it. Its source too: one that names none is another source,
    and no rule decides between two sources that are trusted alike."""
    return f"{';'.join(row)}\n{';'.join(row.values())}\n"


def move(world: World) -> bool:
    """The home is moved, and one more report comes in there."""
    place = world.fresh()
    shutil.move(world.settings.home, place)
    world.settings = load(place)
    return new_reports(world)


def copy(world: World) -> bool:
    """The home is copied, and goes on in the copy; the original must stay as it is from now on."""
    place, original = world.fresh(), world.settings.home
    shutil.copytree(original, place)
    if world.original is not None:
        shutil.rmtree(world.original[0], ignore_errors=True)
    world.original = (original, fingerprint(original))
    world.settings = load(place)
    return new_reports(world)


def back_up(world: World) -> bool:
    """A backup is made."""
    place = world.fresh()
    shutil.copytree(world.settings.home, place)
    world.backup = (place, world.lines, dict(world.active))
    return True


def restore(world: World) -> bool:
    """The home is lost, and goes on as its backup was, at another place."""
    if world.backup is None:
        return False
    backup, world.lines, world.active = world.backup
    shutil.rmtree(world.settings.home)
    place = world.fresh()
    shutil.copytree(backup, place)
    world.settings, world.active = load(place), dict(world.active)
    return new_reports(world) if world.dice.random() < 0.5 else True


def killed_run(world: World) -> bool:
    """`melo run` is killed at any moment, and a later run finishes what it began."""
    path = world.file([world.report(next(world.names))])
    process = world.melo("--home", str(world.settings.home), "run", str(path))
    time.sleep(world.dice.uniform(0.0, KILL_WITHIN))
    process.kill()
    world.outputs.append(_output(process))
    _servers_ended(world.settings.home)
    world.run([path])
    return True


def odd_environment(world: World) -> bool:
    """`melo run` where proxies lead nowhere and an outer job left its variables."""
    path = world.file([world.report(next(world.names))])
    env = world.dice.choice(ENVIRONMENTS)
    process = world.melo("--home", str(world.settings.home), "run", str(path), **env)
    output = _output(process)
    world.outputs.append(output)
    world.expect(
        process.returncode == 0, f"with {env} a run ends {process.returncode}: {output[-600:]}"
    )
    return True


def full_disk(world: World) -> bool:
    """A copy of the home on a disk that is full: one line, exit code 2; with room again it goes on."""
    if not may_mount():
        return False
    path = write_lines(world.fresh().with_suffix(".jsonl"), reports([next(world.names)]))
    disk = world.fresh()
    try:
        with small_disk(disk, DISK):
            home = Path(shutil.copytree(world.settings.home, disk / "home"))
            free = shutil.disk_usage(disk).free
            with (disk / "filler").open("wb") as file:
                file.write(b"0" * max(free - world.dice.randrange(2**20), 0))
            process = world.melo("--home", str(home), "run", str(path))
            output = _output(process)
            world.outputs.append(output)
            world.expect(
                process.returncode != 0 or "champion" in output, f"a full disk: {output[-600:]}"
            )
            (disk / "filler").unlink()
            settings = load(home)
            put_right(settings)
            with open_ledger(settings) as ledger:
                reconcile(Context(settings, ledger))
                ingest_paths(Context(settings, ledger), [path])
                edit_all(settings, ledger)
                lines, audit = ledger.counts().lines, ledger.audit()
            world.expect(lines == world.lines + 1, f"after a full disk {lines} lines are on record")
            world.expect(not audit, f"after a full disk the audit says {audit}")
    except (subprocess.CalledProcessError, shutil.Error):
        return False  # no right to mount, or a home too large for the disk
    return True


STEPS: dict[str, tuple[Callable[[World], bool], int]] = {
    "reports": (new_reports, 4),
    "siblings": (siblings, 3),
    "re-edit": (re_edit, 4),
    "revocation": (revocation, 3),
    "rollback": (rollback, 3),
    "odd file": (odd_file, 4),
    "move": (move, 2),
    "copy": (copy, 2),
    "backup": (back_up, 2),
    "restore": (restore, 2),
    "kill": (killed_run, 2),
    "surroundings": (odd_environment, 2),
    "full disk": (full_disk, 1),
}


def _active_edit(world: World) -> EditRecord | None:
    if not world.active:
        return None
    with world.ledger() as ledger:
        return ledger.edits.get(world.dice.choice(sorted(world.active)))


def _servers_ended(home: Path) -> None:
    """Wait until the home's servers have ended: they still write after their run was killed."""
    theirs = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(home):
                theirs.append(process)
    psutil.wait_procs(theirs, timeout=PATIENCE)


def _output(process: subprocess.Popen[str]) -> str:
    """What the process printed. Processes that it started and left running are killed."""
    try:
        return process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        return f"it did not end within {PATIENCE:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
