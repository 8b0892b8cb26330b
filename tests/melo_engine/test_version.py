"""A version is its content: what is damaged or foreign is refused, what is equal has one name."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from artifacts.hashing import file_hash
from melo_engine import (
    Backbone,
    Calibration,
    Conversation,
    Edit,
    Editor,
    EditRequest,
    HiddenStates,
    MeloError,
    Version,
)
from melo_engine.blocks import Shard
from melo_engine.errors import BackboneError, UnknownEdit, VersionError
from melo_engine.keys import KeyReader
from melo_engine.version import Wording, compact
from tests.melo_engine import models
from tests.melo_engine.conftest import Edited


@pytest.fixture
def saved(edited_t5: Edited, tmp_path: Path) -> Path:
    """The edited T5's version in a folder."""
    return edited_t5.editor.save(tmp_path / "version")


def test_opening_a_version_imports_no_pandas(saved: Path) -> None:
    """It would take longer than all the rest."""
    code = (
        "import sys; from melo_engine import Version\n"
        f"assert len(Version.load({str(saved)!r}).index)\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", ["edits.parquet", "projection.safetensors"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_a_damaged_file_is_refused_by_name(saved: Path, name: str, how: str) -> None:
    file = saved / name
    content = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "cut":
        file.write_bytes(bytes(content[:-20]))
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
    with pytest.raises(VersionError, match=rf"{name}\" is missing or damaged"):
        Version.load(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "can't be read"),
        ("[1]", "can't be read"),
        ('{"schema": 99}', "has schema 99; this release reads 2"),
        (
            '{"schema": 1}',
            "has schema 1; this release reads 2: .*Open it with the release that wrote it; to make its "
            "edits anew, ingest their reports into a new home",
        ),
        ('{"schema": 2}', "manifest.json lacks backbone"),
    ],
)
def test_a_manifest_that_is_none_is_refused(saved: Path, content: str, message: str) -> None:
    (saved / "manifest.json").write_text(content)
    with pytest.raises(VersionError, match=message):
        Version.load(saved)


def test_a_folder_without_a_manifest_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="is no version"):
        Version.load(tmp_path)


def test_a_version_that_names_itself_wrongly_is_refused(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["id"] = "0" * 32
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(VersionError, match="names itself 000000000000"):
        Version.load(saved)


def test_another_backbone_is_refused(saved: Path) -> None:
    with pytest.raises(VersionError, match=r'made for backbone "tiny-t5".*Open it with its own'):
        Version.load(saved, models.backbone("t5", seed=1))


def test_another_tokenizer_is_refused(saved: Path) -> None:
    tokenizer = models.tokenizer()
    tokenizer.add_tokens(["another"])
    with pytest.raises(VersionError, match="the tokenizer is not the one"):
        Version.load(saved, Backbone.wrap(models.model("t5"), tokenizer))


def test_a_missing_shard_is_refused(saved: Path) -> None:
    for folder in (saved / "shards").iterdir():
        folder.rename(folder.with_name("elsewhere-" + folder.name[:4]))
    with pytest.raises(VersionError, match=r'shard ".*" is missing'):
        Version.load(saved)


def test_damaged_blocks_are_noticed_before_they_act(edited_t5: Edited, saved: Path) -> None:
    file = next((saved / "shards").glob("*/blocks.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    editor = Editor.load(edited_t5.backbone, saved)
    with pytest.raises(VersionError, match="is damaged"):
        editor.answer(edited_t5.prompts)


def test_edits_that_point_to_each_others_blocks_are_noticed_before_they_act(
    edited_t5: Edited, saved: Path
) -> None:
    table = pq.read_table(saved / "edits.parquet")
    rows = table.column("row").to_pylist()
    rows[:2] = rows[1::-1]
    place = table.schema.get_field_index("row")
    swapped = table.set_column(place, table.schema.field(place), pa.array(rows, pa.int32()))
    pq.write_table(swapped, saved / "edits.parquet")
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["sha256"]["edits.parquet"] = file_hash(saved / "edits.parquet")
    (saved / "manifest.json").write_text(json.dumps(manifest))
    version = Version.load(saved)
    assert version.id == edited_t5.editor.version.id
    with pytest.raises(VersionError, match="has no block"):
        version.place(edited_t5.requests[0].id)[0].pairs  # noqa: B018


def test_saving_again_replaces_and_shares_shards(edited_t5: Edited, tmp_path: Path) -> None:
    version, store = edited_t5.editor.version, tmp_path / "store"
    version.save(tmp_path / "one", store)
    version.without([edited_t5.requests[0].id]).save(tmp_path / "two", store)
    version.save(tmp_path / "two", store)
    assert Version.load(tmp_path / "two", shards=store).id == version.id
    assert {p.name for p in store.iterdir()} == set(version.shards)
    assert not (tmp_path / "two" / "shards").exists()
    assert not list(tmp_path.glob(".*partial"))


def test_nothing_on_disk_is_a_pickle(saved: Path) -> None:
    kinds = {p.suffix for p in saved.rglob("*") if p.is_file()}
    assert kinds == {".json", ".parquet", ".safetensors"}


def test_merging_halves_is_concatenation(edited_t5: Edited) -> None:
    whole = edited_t5.editor.version
    first = whole.without([r.id for r in edited_t5.requests[:2]])
    second = whole.without([r.id for r in edited_t5.requests[2:]])
    assert first.merge(second).id == second.merge(first).id == whole.id


def test_an_edit_in_both_versions_keeps_all_wordings_and_the_smaller_radius(
    edited_t5: Edited,
) -> None:
    whole = edited_t5.editor.version
    edit = edited_t5.requests[0].id
    key = tuple(float(x) for x in whole.index[edit].key)
    first = whole.with_wordings(edit, [Wording("one", key, 0.2), Wording("both", key, 0.2)])
    second = whole.with_wordings(edit, [Wording("both", key, 0.2), Wording("other", key, 0.2)])
    second = second.with_radius(edit, whole[edit].radius / 2)
    merged = first.merge(second)
    assert merged.id == second.merge(first).id
    assert {w.text for w in merged[edit].wordings} == {"one", "both", "other"}
    assert merged[edit].radius == whole[edit].radius / 2
    shrunk = {w.text: w.radius for w in merged[edit].wordings}
    assert shrunk == {"one": 0.2, "both": 0.1, "other": 0.1}


def test_halves_trained_in_the_same_chunks_merge_into_the_same_version(edited_t5: Edited) -> None:
    """A chunk is part of the recipe: in another batch the last bits of a sum may differ."""
    settings = replace(models.SETTINGS, chunk=2, max_steps=300)
    target = edited_t5.backbone.encode_target
    shortest_first = sorted(edited_t5.requests, key=lambda r: len(target(r.target)))
    made = []
    for part in (edited_t5.requests, shortest_first[:2], shortest_first[2:]):
        editor = Editor(edited_t5.backbone, settings=settings)
        made.append(editor.edit(part).version)
    whole, first, second = made
    assert first.merge(second).id == second.merge(first).id == whole.id


def test_versions_made_apart_merge_and_every_edit_answers(edited_t5: Edited) -> None:
    halves = []
    for part in (edited_t5.requests[:2], edited_t5.requests[2:]):
        editor = Editor(edited_t5.backbone, settings=models.SETTINGS)
        halves.append(editor.edit(part).version)
    merged = Editor(edited_t5.backbone, halves[0].merge(halves[1]))
    answers = merged.answer(edited_t5.prompts)
    assert [a.text for a in answers] == [r.target for r in edited_t5.requests]
    assert [a.edit for a in answers] == [r.id for r in edited_t5.requests]


def test_what_does_not_go_together_is_not_merged(edited_t5: Edited, make_edited) -> None:
    version = edited_t5.editor.version
    with pytest.raises(VersionError, match="two backbones"):
        version.merge(make_edited("llama").editor.version)
    edit = version[edited_t5.requests[0].id]
    other = version.with_edits([replace(edit, block="another")], [])
    with pytest.raises(VersionError, match="edit edit-0 is in both versions"):
        version.merge(other)


def test_compacting_keeps_name_and_answers(edited_t5: Edited, tmp_path: Path) -> None:
    editor = Editor(edited_t5.backbone, settings=models.SETTINGS)
    for request in edited_t5.requests:
        editor.edit([request])
    gone = edited_t5.requests[0].id
    before = editor.revoke([gone])
    small = compact(before)
    assert small.id == before.id
    assert len(small.shards) == len({e.rank for e in small.edits.values()}) < len(before.shards)
    assert sum(len(s) for s in small.shards.values()) == len(small)
    expected = [a.text for a in editor.answer(edited_t5.asked)]
    small.save(tmp_path / "small")
    editor.use(Version.load(tmp_path / "small", edited_t5.backbone))
    assert [a.text for a in editor.answer(edited_t5.asked)] == expected


def test_the_name_does_not_depend_on_the_way(edited_t5: Edited) -> None:
    version = edited_t5.editor.version
    first = edited_t5.requests[0].id
    narrower = version.with_radius(first, 0.1)
    assert narrower.id != version.id
    assert narrower.with_radius(first, version[first].radius).id == version.id
    assert narrower.parent == version.id
    with pytest.raises(UnknownEdit, match='edit "nobody" is not in version'):
        version["nobody"]


def test_thousands_of_blocks_open_without_being_read(edited_t5: Edited, tmp_path: Path) -> None:
    backbone, size, count = edited_t5.backbone, edited_t5.editor.reader.projection.size, 2000
    generator = torch.Generator().manual_seed(0)
    sizes = [(a.shape[1], b.shape[2]) for a, b in edited_t5.editor.version.place("edit-0")[0].pairs]
    pairs = [
        (
            torch.randn(count, size_in, 1, generator=generator),
            torch.randn(count, 1, size_out, generator=generator),
        )
        for size_in, size_out in sizes
    ]
    keys = torch.nn.functional.normalize(torch.randn(count, size, generator=generator)).numpy()
    shard = Shard.from_tensors(pairs, keys.astype(np.float32))
    edits = [
        Edit(EditRequest(f"p{i}", "t", f"name{i}x", id=f"e{i}"), shard.name, i, f"b{i}", 1, 0.5, i)
        for i in range(count)
    ]
    empty = Version.empty(backbone, edited_t5.editor.reader, edited_t5.editor.calibration())
    empty.with_edits(edits, [shard]).save(tmp_path / "many")
    opened = Version.load(tmp_path / "many", backbone)
    assert (len(opened), len(opened.index)) == (count, count)
    assert all(s._pairs is None for s in opened.shards.values())
    editor = Editor(backbone, opened)
    assert [a.text for a in editor.answer(edited_t5.asked)] == (
        [a.text for a in edited_t5.base_before]
    )
    assert all(s._pairs is None for s in opened.shards.values())


def test_every_error_is_of_one_tree() -> None:
    assert issubclass(VersionError, MeloError)
    assert issubclass(UnknownEdit, MeloError)


def test_how_far_an_edit_reaches_by_content_is_part_of_a_version(
    edited_t5: Edited, tmp_path: Path
) -> None:
    version = edited_t5.editor.version
    first = next(iter(version.edits))
    partly = version.with_edits([replace(version[first], content_radius=0.5)], [])
    assert partly.id != version.id
    loaded = Version.load(partly.save(tmp_path / "partly"))
    assert (loaded.id, loaded[first].content_radius) == (partly.id, 0.5)
    assert loaded.index[first].content_radius == 0.5
    asked = version.with_edits([replace(version[first], content_radius=0.5, by_question=True)], [])
    assert asked.id not in (partly.id, version.id)
    loaded = Version.load(asked.save(tmp_path / "asked"))
    assert (loaded.id, loaded[first].by_question) == (asked.id, True)
    assert loaded.index[first].question == asked[first].question
    half = partly.with_radius(first, partly[first].radius / 2)
    assert half[first].content_radius == pytest.approx(0.25)


def test_a_version_made_with_another_encoder_is_refused(saved: Path, tmp_path: Path) -> None:
    class Other:
        """Reads as the backbone's own states, under another hash."""

        name, content_hash = "sentence-encoder", "0" * 64

        def __init__(self, own: HiddenStates) -> None:
            self.own = own

        def __getattr__(self, name: str) -> object:
            return getattr(self.own, name)

    backbone = models.backbone("t5")
    own = HiddenStates(backbone)
    version = Version.load(saved, backbone)
    message = (
        f"keys were read by hidden-states {own.content_hash[:12]}; here is sentence-encoder "
        "000000000000. Install the encoder that it was made with, or make its edits anew"
    )
    with pytest.raises(VersionError, match=message):
        Editor(backbone, version, reader=KeyReader(Other(own)))  # type: ignore[arg-type]
    fresh = Editor(backbone, reader=KeyReader(Other(own)))  # type: ignore[arg-type]
    assert fresh.version.encoder_name == "sentence-encoder"
    with pytest.raises(VersionError, match="keys were read by hidden-states"):
        fresh.use(version)
    with pytest.raises(VersionError, match="two backbones or key projections"):
        version.merge(fresh.version)
    assert Editor(backbone, version, reader=KeyReader(own)).version.id == version.id
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["encoder"] == {"name": "hidden-states", "sha256": own.content_hash}
    manifest["encoder"]["name"] = "tea-leaves"
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BackboneError, match='encoder "tea-leaves" is unknown; allowed: hidden-st'):
        Editor.load(backbone, saved)


def test_the_calibration_is_saved_with_a_version_and_opened_with_it(
    edited_t5: Edited, tmp_path: Path
) -> None:
    settings = replace(models.SETTINGS, false_activations=0.02)
    given = Calibration(0.4, 0.3, 0.2, 0.02, 100)
    with Editor(edited_t5.backbone, settings=settings, calibration=given) as editor:
        editor.edit(edited_t5.requests[:1])
        editor.save(tmp_path / "version")
    assert editor.version["edit-0"].radius == 0.4
    manifest = json.loads((tmp_path / "version" / "manifest.json").read_text())
    assert manifest["calibration"] == given.as_dict()
    loaded = Editor.load(edited_t5.backbone, tmp_path / "version", settings=settings)
    assert loaded.calibration() == loaded.version.calibration == given
    loaded.edit(edited_t5.requests[1:2])
    assert loaded.version["edit-1"].radius == 0.4
    stricter = Editor.load(edited_t5.backbone, tmp_path / "version", settings=models.SETTINGS)
    assert stricter.calibration() == Calibration.raw(models.SETTINGS.false_activations)
    stricter.edit(edited_t5.requests[1:2])
    assert stricter.version.calibration == Calibration.raw(models.SETTINGS.false_activations)
    assert stricter.version["edit-0"].radius == 0.4  # what is there stays as it was gated
    assert stricter.version["edit-1"].radius == Calibration.raw(0.005).bound


WORDINGS = ("tell me who is at the head of {} now", "{} is led by")


def test_an_edit_answers_the_wordings_that_came_with_it(edited_t5: Edited, tmp_path: Path) -> None:
    subject, plain = models.SUBJECTS[0], edited_t5.requests[0]
    texts = tuple(w.format(subject) for w in WORDINGS)
    with Editor(edited_t5.backbone, settings=models.SETTINGS) as editor:
        editor.edit([replace(plain, rephrases=(*texts, plain.question, " ", texts[0]))])
        assert [w.text for w in editor.version[plain.id].wordings] == list(texts)
        assert [a.edit for a in editor.answer(texts)] == [plain.id] * len(texts)
        assert [a.text for a in editor.answer(texts)] == [plain.target] * len(texts)
        loaded = Version.load(editor.save(tmp_path / "version"))
    assert loaded.id == editor.version.id
    assert loaded[plain.id].wordings == editor.version[plain.id].wordings
    assert len(loaded.index) == 1
    assert len(loaded.index.wordings(plain.id)) == 3
    again = Editor(edited_t5.backbone, loaded)
    assert [a.edit for a in again.answer(texts)] == [plain.id] * len(texts)
    again.revoke([plain.id])
    assert [a.edit for a in again.answer(texts)] == [None] * len(texts)


def test_wordings_are_added_without_training_and_are_part_of_a_versions_name(
    edited_t5: Edited, tmp_path: Path
) -> None:
    version = edited_t5.editor.version
    first = edited_t5.requests[0].id
    texts = [w.format(models.SUBJECTS[0]) for w in WORDINGS]
    editor = Editor(edited_t5.backbone, version)
    assert [a.edit for a in editor.answer(texts)] == [None] * len(texts)
    steps: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("melo_engine.editor.Teacher", steps.append)
        more = editor.add_wordings(first, texts)
    assert not steps
    assert more is editor.version
    assert (more.parent, more[first].block) == (version.id, version[first].block)
    assert more.shards == version.shards
    assert (
        len({version.id, more.id, version.with_wordings(first, more[first].wordings[:1]).id}) == 3
    )
    assert more.with_wordings(first, more[first].wordings).id == more.id  # known ones count once
    turned = version.with_wordings(first, more[first].wordings[::-1])
    assert turned.id == more.id
    assert [a.edit for a in editor.answer(texts)] == [first] * len(texts)
    others = edited_t5.prompts[1:]
    assert [a.edit for a in editor.answer(others)] == [r.id for r in edited_t5.requests[1:]]
    loaded = Version.load(more.save(tmp_path / "more"), edited_t5.backbone)
    assert loaded.id == more.id
    assert [a.edit for a in Editor(edited_t5.backbone, loaded).answer(texts)] == [first] * 2
    assert compact(more).id == more.id
    with pytest.raises(UnknownEdit, match="nobody"):
        editor.add_wordings("nobody", texts)


def test_a_conversation_is_saved_as_one(edited_t5: Edited, tmp_path: Path) -> None:
    subject = models.SUBJECTS[4]
    messages = [
        {"role": "user", "content": f"tell me about {subject} ."},
        {"role": "assistant", "content": "it is a new city ."},
        {"role": "user", "content": "who leads it ?"},
    ]
    request = EditRequest(Conversation.of(messages), "sol", subject=subject, id="talk")
    with Editor(edited_t5.backbone, settings=models.SETTINGS) as editor:
        editor.edit([request])
        loaded = Version.load(editor.save(tmp_path / "version"))
    assert loaded.id == editor.version.id
    assert loaded["talk"].request == request
    assert len(loaded.index) == 0
    assert len(loaded.conversation_index) == 1
