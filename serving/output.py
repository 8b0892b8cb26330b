"""What becomes of each new token: text that is handed on, and whether its row has ended.

A row ends at its end token, its stop text, its length, its deadline, or when it is cancelled because its
client has gone; the others go on. Where no length was asked for, the deadline is the length.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from melo_engine import Backbone
from melo_engine.generating import end_tokens
from serving.rows import BatchRow, Finish
from serving.sampling import TokenLogprob
from serving.texts import GrowingText, joins_words, kept_tokens, settled, stop_at, text_of, trimmed


class OutputProcessor:
    """Takes the tokens that a backbone generates to their rows."""

    def __init__(self, backbone: Backbone) -> None:
        self.tokenizer = backbone.target_tokenizer
        self.ends = end_tokens(backbone)
        self.whole_words = joins_words(self.tokenizer)

    def take(self, rows: Sequence[BatchRow], tokens: Sequence[int]) -> None:
        """One token for each row; rows that have ended take none."""
        now = time.monotonic()
        for row, token in zip(rows, tokens, strict=True):
            if row.finish is None:
                self._take(row, token, now)

    def end(self, row: BatchRow, finish: Finish) -> None:
        """Close a row: its text up to the stop, all of it handed on."""
        text = text_of(self.tokenizer, row.tokens)
        at = stop_at(text, row.sampling.stop)
        row.text = trimmed(text) if at is None else text[:at]
        if at is not None and row.logprobs:
            del row.logprobs[kept_tokens(self.tokenizer, row.tokens, at) :]
        row.finish = finish
        self._hand_on(row, len(row.text))

    def _take(self, row: BatchRow, token: int, now: float) -> None:
        if token in self.ends and not row.sampling.ignore_eos:
            return self.end(row, "stop")
        row.tokens.append(token)
        if row.raw is not None and row.sampling.alternatives is not None:
            row.logprobs.append(TokenLogprob.of(row.raw, token, row.sampling.alternatives))
        if row.sampling.stop or row.on_text is not None:
            if row.growing is None:
                row.growing = GrowingText(self.tokenizer, decode_all=self.whole_words)
            row.text = row.growing.of(row.tokens)
            if stop_at(row.text, row.sampling.stop) is not None:
                return self.end(row, "stop")
            until = settled(row.text, row.sampling.stop, self.whole_words)
            self._hand_on(row, min(until, row.growing.stable))
        if len(row.tokens) >= row.max_tokens:
            return self.end(row, "length")
        if row.cancelled:
            return self.end(row, "cancelled")
        if now > row.deadline:
            return self.end(row, "length" if row.open_ended else "late")
        return None

    def _hand_on(self, row: BatchRow, until: int) -> None:
        if row.on_text is None or (until <= row.sent and row.finish is None):
            return
        tokens = row.logprobs[row.sent_tokens :]
        if until > row.sent or tokens:
            row.on_text(row.text[row.sent : until], tokens)
            row.sent, row.sent_tokens = max(row.sent, until), len(row.logprobs)
