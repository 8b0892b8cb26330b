"""Prepare a classifier: frozen MiniLM, its pooler and a linear head trained on half of the rows.

    text ─► MiniLM (frozen) ─► state of [CLS] (384,) ─► pooler (trained) ─► head (trained) ─► label

The other half is never seen, so what the classifier gets wrong there are real mistakes to edit.
`AutoModelForSequenceClassification.from_pretrained` opens the folder; `config.id2label` names the
classes.
"""

import copy
import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertForSequenceClassification

from execution.backbone import folder as folders
from execution.backbone.record import content_key, holds
from execution.progress import ProgressShare
from tasks.backbone.encoder import ENCODER_SHA256, find_encoder, load_encoder, read_prompts
from tasks.backbone.errors import NothingToLearn

Example = tuple[str, str]
KIND = "classifier"


@dataclass(frozen=True)
class ClassifierRecipe:
    """What decides a classifier: how much is read and how long the head is trained."""

    examples: int = 1600  # texts of the training half that are read at most
    checked: int = 300  # texts of the other half on which accuracy is measured
    prompt_tokens: int = 128
    rounds: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    threads: int = 2


def prepare_classifier(
    rows: Iterable[Mapping[str, Any]],
    out: Path,
    *,
    seed: int = 0,
    encoder: str | None = None,
    recipe: ClassifierRecipe | None = None,
    progress: ProgressShare | None = None,
) -> Path:
    """Train a classifier on rows {"prompt": text, "target": label} and save it; return `out`.

    Trained on `halves(rows, seed)[0]` alone. Cached, written and refused as `prepare_backbone` is.
    Raises NothingToLearn where there are fewer than two labels.
    """
    recipe = recipe or ClassifierRecipe()
    listed = list(rows)
    training, held_out = halves(listed, seed=seed)
    key = content_key(KIND, asdict(recipe), seed, [*training, *held_out])
    if holds(out, key):
        return out
    folders.refuse_taken(out)
    labels = sorted({label for _, label in (*training, *held_out)})
    if len(labels) < 2 or not training:
        raise NothingToLearn(f"a classifier needs two labels or more in `target`; got {labels}.")
    source = find_encoder(encoder)
    say = progress or (lambda text, share: None)
    with folders.undisturbed(recipe.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder_model, tokenizer = load_encoder(source)
        chosen = random.Random(seed).sample(training, min(recipe.examples, len(training)))
        checked = random.Random(seed).sample(held_out, min(recipe.checked, len(held_out)))
        texts = [text for text, _ in (*chosen, *checked)]
        states = read_prompts(
            encoder_model,
            tokenizer,
            texts,
            max_tokens=recipe.prompt_tokens,
            progress=lambda share: say("reading the texts", share),
        )
        first = torch.stack([state[0] for state in states])  # (N, 384), of [CLS]
        gold = torch.tensor([labels.index(label) for _, label in (*chosen, *checked)])  # (N,)
        model = _new_model(encoder_model, labels)
        _train_head(model, first[: len(chosen)], gold[: len(chosen)], recipe)
        accuracy = _accuracy(model, first[len(chosen) :], gold[len(chosen) :])
    record = {
        "kind": KIND,
        "recipe": asdict(recipe),
        "seed": seed,
        "encoder_sha256": ENCODER_SHA256,
        "labels": labels,
        "trained_on": len(chosen),
        "checked_on": len(checked),
        "accuracy": accuracy,
    }

    def save(part: Path) -> None:
        with folders.undisturbed(recipe.threads):
            model.save_pretrained(part)
        tokenizer.save_pretrained(part)

    return folders.publish(out, key, save, record)


def halves(
    rows: Iterable[Mapping[str, Any]], *, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Split rows into (text, label) that a classifier is trained on, and those it never sees.

    The side depends on the text and the seed alone, not on the order or number of rows.
    """
    sides: tuple[list[Example], list[Example]] = ([], [])
    for row in rows:
        text, label = row.get("prompt"), row.get("target")
        if isinstance(text, str) and text.strip() and isinstance(label, str) and label.strip():
            digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
            sides[digest[0] % 2].append((text, label))
    return sides


def _new_model(encoder: Any, labels: Sequence[str]) -> Any:
    config = copy.deepcopy(encoder.config)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    model = BertForSequenceClassification(config)  # the head is drawn from torch's seed
    model.bert = encoder
    return model.eval()


def _train_head(model: Any, first: Tensor, gold: Tensor, recipe: ClassifierRecipe) -> None:
    """Train pooler and head in place. first: (N, 384) states of [CLS]; gold: (N,) class numbers."""
    parameters = [*model.bert.pooler.parameters(), *model.classifier.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.rounds * -(-len(first) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(recipe.rounds):
        order = torch.randperm(len(first))
        for start in range(0, len(first), recipe.batch_size):
            rows = order[start : start + recipe.batch_size]
            dropped = torch.dropout(first[rows], recipe.dropout, train=True)  # (B, 384)
            loss = cross_entropy(_logits(model, dropped), gold[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def _accuracy(model: Any, first: Tensor, gold: Tensor) -> float | None:
    if not len(first):
        return None
    with torch.no_grad():
        right = (_logits(model, first).argmax(-1) == gold).float().mean()
    return round(right.item(), 4)


def _logits(model: Any, first: Tensor) -> Tensor:
    """Return what the whole model would say: (B, 384) states of [CLS] to (B, classes)."""
    logits: Tensor = model.classifier(model.bert.pooler(first[:, None, :]))
    return logits
