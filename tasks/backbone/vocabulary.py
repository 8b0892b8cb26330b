"""The decoder's own vocabulary: a small, cased, byte-level BPE learned from the answers.

The prompt's WordPiece vocabulary drops case and accents, so it can't spell most answers. Here every
byte is in the vocabulary, no text is normalised, and every string comes back exactly.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

FOLDER = "decoder_tokenizer"
PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
PAD_ID, BOS_ID, EOS_ID = 0, 1, 2  # pad is 0 for the encoder too: one pad id serves both sides


def learn_vocabulary(answers: Sequence[str], *, size: int) -> Any:
    """Return a tokenizer of at most `size` entries (never fewer than the 256 bytes) for answers.

    The same answers in the same order give the same vocabulary. It adds no special token of its
    own; a text that looks like one is spelled out in bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(answers, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
