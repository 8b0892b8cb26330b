"""Answers that are kept: found again, shared, never trusted once tampered with."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from tasks.gate import AnswerCache, CacheError
from tasks.gate.cache import BASE
from tasks.gate.types import probe_hash

A, B = (probe_hash("who ?"), BASE), (probe_hash("who ?"), "block")


def test_an_answer_is_found_again_under_its_probe_block_and_scope(cache: AnswerCache):
    one, other = cache.scope("greedy"), cache.scope("sampled")
    cache.put(one, {A: "ada", B: "jon"})
    assert cache.get(one, [A, B]).answers == {A: "ada", B: "jon"}
    assert cache.get(other, [A, B]).answers == {}
    assert cache.scope("greedy") == one


def test_a_row_changed_by_hand_is_not_used_and_is_named(cache: AnswerCache):
    scope = cache.scope("greedy")
    cache.put(scope, {A: "ada", B: "jon"})
    with sqlite3.connect(cache.path) as con:
        con.execute("UPDATE answers SET answer = 'eve' WHERE block = 'block'")
    found = cache.get(scope, [A, B])
    assert found.answers == {A: "ada"}
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
            cache.put(scope, {(probe_hash(f"{which} {i}"), BASE): f"{which}-{i}"})


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
        assert len(cache.get(cache.scope("greedy"), pairs).answers) == 80


def test_answers_of_blocks_that_are_gone_can_be_dropped(cache: AnswerCache):
    scope = cache.scope("greedy")
    cache.put(scope, {A: "ada", B: "jon", (A[0], "old"): "eve"})
    assert cache.forget_blocks(["block"]) == 1
    assert cache.get(scope, [A, B]).answers == {A: "ada", B: "jon"}
