"""Two distributions come out of this repository: the product, and the proof that is plugged into it."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Melo

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("tests", "docs", "build", "dist", "results", "*.egg-info", "__pycache__", ".*")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, since a build leaves files where it runs."""
    folder = tmp_path_factory.mktemp("sources") / "project"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    return folder


@pytest.fixture(scope="module")
def product(sources: Path) -> zipfile.ZipFile:
    return _wheel(sources)


@pytest.fixture(scope="module")
def proof(sources: Path) -> zipfile.ZipFile:
    return _wheel(sources / "benchmarks")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """All that is installed here but for what comes out of this repository."""
    folder = tmp_path / "site"
    folder.mkdir()
    for place in (Path(entry) for entry in sys.path if entry.endswith("-packages")):
        for entry in place.iterdir():
            ours = entry.name.startswith(("melo", "__editable__")) or entry.suffix == ".pth"
            if not ours and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def test_the_product_has_no_benchmarks_and_no_demo(product: zipfile.ZipFile) -> None:
    files = _files(product)
    packages = {name.split("/")[0] for name in files}
    assert {
        "cli",
        "console",
        "deployment",
        "execution",
        "melo_engine",
        "serving",
        "tasks",
    } <= packages
    assert not packages & {"benchmarks", "tests", "examples"}
    assert not [name for name in files if "demo" in name or "bench" in name]
    assert "melo.commands" not in _entry_points(product)


def test_the_proof_has_its_packages_and_plugs_in_two_commands(proof: zipfile.ZipFile) -> None:
    files = _files(proof)
    assert {name.split("/")[0] for name in files} == {"benchmarks"}
    folder = ROOT / "benchmarks"
    there = {f"benchmarks/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.py")}
    assert there <= files, "list a new folder in benchmarks/pyproject.toml"
    assert "benchmarks/clock.c" in files
    assert dict(_entry_points(proof)["melo.commands"]) == {
        "bench": "benchmarks.commands.group:app",
        "demo": "benchmarks.demo:app",
    }


@pytest.mark.slow
def test_a_product_alone_says_what_brings_bench_and_demo(
    product: zipfile.ZipFile, proof: zipfile.ZipFile, site: Path
) -> None:
    product.extractall(site)
    for command in ("bench", "demo"):
        done = _melo(site, command, "--help")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert f"`melo {command}` comes with melo-benchmarks, which is not installed" in done.stderr
    assert not {"bench", "demo"} & set(_melo(site, "--help").stdout.split())
    proof.extractall(site)
    assert {"bench", "demo"} < set(_melo(site, "--help").stdout.split())
    for command in ("bench", "demo"):
        done = _melo(site, command, "--help")
        assert done.returncode == 0, done.stderr
        assert f"Usage: python -m cli.main {command}" in done.stdout


@pytest.mark.slow
def test_the_engine_alone_says_what_brings_the_commands(
    product: zipfile.ZipFile, site: Path
) -> None:
    product.extractall(site)
    (site / "duckdb").unlink()
    (site / "prefect").unlink()
    done = _melo(site, "status")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "duckdb, prefect not installed" in done.stderr
    assert "pip install 'melo-pipeline[pipeline]'" in done.stderr


@pytest.mark.parametrize("place", ["--prefix", "--target"])
def test_what_melo_up_applies_is_installed_with_the_product(
    product: zipfile.ZipFile, tmp_path: Path, place: str
) -> None:
    wheel = str(product.filename)
    # Without --ignore-installed pip would take out the installation that the tests run in.
    options = ["--ignore-installed", "--no-deps", "--no-index", "--no-compile", "-q"]
    pip = [sys.executable, "-m", "pip", "install", *options]
    subprocess.run([*pip, place, str(tmp_path), wheel], check=True)
    (packages,) = (folder.parent for folder in tmp_path.rglob("melo_engine"))
    for name in ("prefect.yaml", "automations.yaml"):
        find = f"from deployment.environment import deployment_file as f; print(f({name!r}))"
        done = subprocess.run(
            [sys.executable, "-c", find],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(packages)},
            capture_output=True,
            text=True,
            check=True,
        )
        file = Path(done.stdout.strip())
        assert file.is_relative_to(tmp_path)
        assert file.read_bytes() == (ROOT / name).read_bytes()


def test_a_command_that_can_not_be_loaded_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, melo_in: Callable[[Path], Melo]
) -> None:
    meta = tmp_path / "theirs-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\nSummary: Theirs.\n"
    )
    (meta / "entry_points.txt").write_text(
        "[melo.commands]\ntheirs = not_there:app\nodd = json:dumps\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    melo = melo_in(tmp_path / "home")
    code, out, _ = melo("--help")
    assert "  theirs      Theirs.\n" in out
    code, _, err = melo("theirs")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "`melo theirs` can't be loaded from not_there:app: No module named 'not_there'" in err
    code, _, err = melo("odd")
    assert (code, err.strip().endswith("names json:dumps, which is no typer app.")) == (2, True)


def test_the_import_contracts_hold() -> None:
    check = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def _wheel(project: Path) -> zipfile.ZipFile:
    out = project / "dist"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (wheel,) = out.glob("*.whl")
    return zipfile.ZipFile(wheel)


def _files(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def _entry_points(wheel: zipfile.ZipFile) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    parser.read_string(wheel.read(name).decode())
    return parser


def _melo(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with what is installed in a folder, and nothing else."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}
    return subprocess.run(
        [sys.executable, "-S", "-m", "cli.main", *arguments],
        cwd=site.parent,
        env={**clean, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
