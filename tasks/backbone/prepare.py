"""Prepare a backbone: frozen MiniLM encoder, small decoder trained on what was believed yesterday.

    FOLDER/
      config.json, generation_config.json, model.safetensors    an EncoderDecoderModel
      tokenizer.json, ...                                       for prompts: MiniLM's, uncased
      decoder_tokenizer/                                        for answers: cased byte-level BPE
      melo_backbone.json                                        recipe, seed, hashes, recall

`AutoModelForSeq2SeqLM.from_pretrained(FOLDER)` opens it; `model.generate(**tokenizer(prompt))` with
no further setting answers greedily and ends by itself.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import EncoderDecoderModel, GenerationConfig

from execution.backbone import folder as folders
from execution.backbone.record import content_key, holds
from execution.progress import ProgressShare
from tasks.backbone.encoder import ENCODER_SHA256, find_encoder, load_encoder, read_prompts
from tasks.backbone.errors import NothingToLearn
from tasks.backbone.pairs import as_encoded
from tasks.backbone.recipe import Recipe
from tasks.backbone.train import Learned, TrainingPair, new_decoder, teach
from tasks.backbone.vocabulary import BOS_ID, EOS_ID, FOLDER, PAD_ID, learn_vocabulary

KIND = "seq2seq"


def prepare_backbone(
    pairs: Sequence[tuple[str, str]],
    out: Path,
    *,
    seed: int = 0,
    encoder: str | None = None,
    recipe: Recipe | None = None,
    progress: ProgressShare | None = None,
) -> Path:
    """Train a decoder on (prompt, answer) pairs and save the whole model to `out`; return `out`.

    Returned at once where `out` already holds the result of the same pairs, seed and recipe. The
    folder appears complete or not at all. Of prompts that the encoder can't tell apart the first
    counts. `progress` is called with what is being done and how much of it is (0 to 1).
    encoder: a local folder or hub id of all-MiniLM-L6-v2; None finds it.
    Raises NothingToLearn, EncoderNotFound, EncoderMismatch, OutputTaken.
    """
    recipe = recipe or Recipe()
    distinct = _distinct(pairs)
    key = content_key(KIND, asdict(recipe), seed, distinct)
    if holds(out, key):
        return out
    folders.refuse_taken(out)
    source = find_encoder(encoder)
    with folders.undisturbed(recipe.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, prompt_tokenizer, answer_tokenizer, record = _train(
            distinct, source, recipe, seed, progress or (lambda text, share: None)
        )

    def save(part: Path) -> None:
        with folders.undisturbed(recipe.threads):
            model.save_pretrained(part)
        prompt_tokenizer.save_pretrained(part)
        answer_tokenizer.save_pretrained(part / FOLDER)

    return folders.publish(out, key, save, record)


def _train(
    pairs: Sequence[tuple[str, str]],
    source: Path,
    recipe: Recipe,
    seed: int,
    progress: ProgressShare,
) -> tuple[Any, Any, Any, dict[str, object]]:
    """Return the model, both tokenizers and what `melo_backbone.json` says about them."""
    encoder, prompt_tokenizer = load_encoder(source)
    answer_tokenizer = learn_vocabulary([answer for _, answer in pairs], size=recipe.vocabulary)
    answers = [
        [*ids, EOS_ID]
        for ids in answer_tokenizer([answer for _, answer in pairs], add_special_tokens=False)[
            "input_ids"
        ]
    ]
    fitting = [row for row, ids in enumerate(answers) if len(ids) <= recipe.answer_tokens]
    if not fitting:
        raise NothingToLearn(
            f"every one of {len(answers)} answers has more than {recipe.answer_tokens - 1} tokens; "
            "give shorter answers or raise recipe.answer_tokens."
        )
    states = read_prompts(
        encoder,
        prompt_tokenizer,
        [pairs[row][0] for row in fitting],
        max_tokens=recipe.prompt_tokens,
        progress=lambda share: progress("reading the prompts", share),
    )
    examples = [
        TrainingPair(states=read, answer=torch.tensor(answers[row]))
        for row, read in zip(fitting, states, strict=True)
    ]
    decoder = new_decoder(len(answer_tokenizer), recipe)
    learned = teach(
        decoder,
        examples,
        recipe,
        seed=seed,
        progress=lambda share: progress("training the decoder", share),
    )
    record = _record(pairs, len(fitting), learned, recipe, seed)
    return _assemble(encoder, decoder, recipe), prompt_tokenizer, answer_tokenizer, record


def _assemble(encoder: Any, decoder: Any, recipe: Recipe) -> Any:
    """Join both halves; the token ids that generation reads are set where it looks for them."""
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    ids = {
        "decoder_start_token_id": BOS_ID,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "pad_token_id": PAD_ID,
    }
    for name, value in ids.items():
        setattr(model.config, name, value)
    model.config.vocab_size = decoder.config.vocab_size
    model.generation_config = GenerationConfig(
        **ids, max_new_tokens=recipe.positions // 2, do_sample=False, num_beams=1, use_cache=True
    )
    return model


def _record(
    pairs: Sequence[tuple[str, str]],
    learned_pairs: int,
    learned: Learned,
    recipe: Recipe,
    seed: int,
) -> dict[str, object]:
    facts = hashlib.sha256(json.dumps(pairs, ensure_ascii=False).encode()).hexdigest()
    return {
        "kind": KIND,
        "recipe": asdict(recipe),
        "seed": seed,
        "facts_sha256": facts,
        "encoder_sha256": ENCODER_SHA256,
        "pairs": learned_pairs,
        "pairs_left_out": len(pairs) - learned_pairs,
        "recall": round(learned.recall, 4),
        "steps": learned.steps,
        "visits": learned.visits,
    }


def _distinct(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Drop empty pairs and all but the first of those whose prompts the encoder reads alike."""
    first: dict[str, tuple[str, str]] = {}
    for prompt, answer in pairs:
        if prompt.strip() and answer.strip():
            first.setdefault(as_encoded(prompt), (prompt, answer))
    if not first:
        raise NothingToLearn("there is no (prompt, answer) pair with text on both sides to learn.")
    return list(first.values())
