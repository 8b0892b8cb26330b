"""Answers that are kept: found again, shared, never trusted once tampered with."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from tasks.gate import AnswerCache, CacheError
from tasks.gate.cache.answers import BASE, Text
from tasks.gate.types import probe_hash

A, B = (probe_hash("who ?"), BASE), (probe_hash("who ?"), "block")


def test_an_answer_is_found_again_under_its_probe_block_and_scope(cache: AnswerCache):
    one, other = cache.scope("greedy"), cache.scope("sampled")
    cache.put_texts(one, {A: Text("ada"), B: Text("jon")})
    assert cache.texts(one, [A, B]).texts == {A: Text("ada"), B: Text("jon")}
    assert cache.texts(other, [A, B]).texts == {}
    assert cache.scope("greedy") == one


def test_a_row_changed_by_hand_is_not_used_and_is_named(cache: AnswerCache):
    scope = cache.scope("greedy")
    cache.put_texts(scope, {A: Text("ada"), B: Text("jon")})
    with sqlite3.connect(cache.path) as con:
        con.execute("UPDATE texts SET text = 'eve' WHERE block = 'block'")
    found = cache.texts(scope, [A, B])
    assert found.texts == {A: Text("ada")}
    assert found.damaged == {B}


def test_a_file_that_is_no_cache_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "answers.sqlite"
    path.write_text("this is a letter, not a database, and long enough to be looked at" * 20)
    with pytest.raises(CacheError, match="is no answer cache"):
        AnswerCache.open(path)


def _write(path: Path, which: int) -> None:
    with AnswerCache.open(path) as cache:
        scope = cache.scope("greedy")
        for i in range(40):
            cache.put_texts(scope, {(probe_hash(f"{which} {i}"), BASE): Text(f"{which}-{i}")})


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path):
    path = tmp_path / "answers.sqlite"
    spawn = multiprocessing.get_context("spawn")
    other = spawn.Process(target=_write, args=(path, 0))
    other.start()
    while other.is_alive():
        _write(path, 1)
    assert other.exitcode == 0
    with AnswerCache.open(path) as cache:
        pairs = [(probe_hash(f"{n} {i}"), BASE) for n in range(2) for i in range(40)]
        assert len(cache.texts(cache.scope("greedy"), pairs).texts) == 80


def test_samples_and_likelihoods_are_kept_apart_from_texts(cache: AnswerCache):
    scope = cache.scope("sampled")
    cache.put_samples(scope, 0, {A: "ada"})
    cache.put_samples(scope, 1, {A: "eve"})
    cache.put_samples(scope, 1, {B: "jon"})
    cache.put_likelihood(scope, A, b"said", 0.25)
    assert cache.samples(scope, A) == ["ada", "eve"]
    assert cache.samples(scope, B) == []  # its first draw is not known
    assert (cache.likelihood(scope, A, b"said"), cache.likelihood(scope, A, b"other")) == (
        0.25,
        None,
    )
    assert cache.texts(scope, [A]).texts == {}
    with sqlite3.connect(cache.path) as con:
        con.execute("UPDATE samples SET text = 'eve' WHERE draw = 0")
        con.execute("UPDATE likelihoods SET value = 0.5")
    assert cache.samples(scope, A) == []
    assert cache.likelihood(scope, A, b"said") is None


@pytest.mark.parametrize(
    ("text", "reference", "enough"),
    [
        (Text("ada li"), "ada li", True),
        (Text("ada li"), None, True),
        (Text("ada", "departed"), "jon", True),
        (Text("ada", "departed"), "ada li", False),
        (Text("ada", "departed"), None, False),
    ],
)
def test_a_text_that_was_cut_decides_what_it_has_departed_from(
    text: Text, reference: str | None, enough: bool
):
    assert text.decides(reference) is enough
