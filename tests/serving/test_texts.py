"""Text of answers while they grow, for every way in which vocabularies write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE, WordLevel
from transformers import PreTrainedTokenizerFast

from serving.texts import (
    GrowingText,
    byte_letters,
    bytes_of,
    joins_words,
    settled,
    text_of,
    trimmed,
)

WORDS = ["▁who", "▁is", "▁it", "s", "▁", ".", "日", "<0xE6>", "<0x97>", "<0xA5>"]


def byte_level() -> Any:
    backend = Tokenizer(BPE(vocab={p: i for i, p in enumerate(byte_letters())}, merges=[]))
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def sentence_pieces() -> Any:
    backend = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="."))
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize("make", [byte_level, sentence_pieces])
def test_text_grows_to_what_all_tokens_say(make: Any) -> None:
    tokenizer = make()

    @given(st.lists(st.integers(0, len(tokenizer) - 1), min_size=1, max_size=40))
    def holds(tokens: list[int]) -> None:
        growing, sent, text = GrowingText(tokenizer, decode_all=joins_words(tokenizer)), 0, ""
        for count in range(1, len(tokens) + 1):
            text = growing.of(tokens[:count])
            assert text == text_of(tokenizer, tokens[:count])
            until = min(settled(text, (), whole_words=False), growing.stable)
            assert not text[sent:until].endswith("\ufffd")
            sent = max(sent, until)
        assert trimmed(text)[:sent] == text[:sent]

    holds()


def test_a_token_is_told_by_its_bytes() -> None:
    assert bytes_of(sentence_pieces(), WORDS.index("<0xE6>")) == b"\xe6"
    assert bytes_of(sentence_pieces(), WORDS.index("▁who")) == b" who"
    tokenizer = byte_level()
    assert [bytes_of(tokenizer, i)[0] for i in range(256)] == list(byte_letters().values())


def test_words_of_a_stream_add_up_in_smollm2s_vocabulary(smollm2_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(smollm2_path)
    said = "Zwölf Boxkämpfer, 日本の首都は東京です。 👩‍👩‍👧 x = {'a': 1}\n\n  Ende!"
    tokens = tokenizer(said)["input_ids"]
    growing = GrowingText(tokenizer, decode_all=joins_words(tokenizer))
    for count in range(1, len(tokens) + 1):
        assert growing.of(tokens[:count]) == text_of(tokenizer, tokens[:count])
