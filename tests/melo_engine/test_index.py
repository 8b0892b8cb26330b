"""The index finds what a search by hand finds, in any order, and removal leaves no trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melo_engine.errors import IndexMismatch, UnknownEdit
from melo_engine.index import Hit, Member, NeuronIndex, Reading

RELATION, SIZE = 3, 6
NAMES = ("apple", "apple chip", "chip", "velandor", "velandur river", "toriquet")
PROMPTS = (
    "who leads apple ?",
    "who makes the apple chip ?",
    "where is velandor ?",
    "where is the velandur river ?",
    "where is velamdor ?",
    "who leads toriqet or chip ?",
    "what now ?",
)


@st.composite
def members(draw: st.DrawFn, names: tuple[str, ...] = ("", *NAMES)) -> list[Member]:
    count = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 10_000))
    chooser = np.random.default_rng(seed)
    made = []
    for i in range(count):
        name = names[chooser.integers(len(names))]
        key = chooser.normal(size=SIZE).astype(np.float32)
        radius = float(chooser.uniform(0.1, 3.0))
        made.append(Member(f"edit-{i}", key, radius, (name,) if name else (), i))
    return made


def ask(index: NeuronIndex, keys: np.ndarray) -> list[tuple[str | None, bool]]:
    readings = index.readings(PROMPTS)
    hits = index.search(keys[[r.row for r in readings]], readings, len(PROMPTS))
    return [(h.member.edit if h.member else None, h.inside) for h in hits]


def search_free(index: NeuronIndex, keys: np.ndarray, tolerance: float = 0.0) -> list[Hit]:
    """Hits of keys of texts in which no subject stands."""
    readings = [Reading(row, "what now ?", None, None) for row in range(len(keys))]
    return index.search(keys, readings, len(keys), tolerance)


def some_keys(seed: int = 0) -> np.ndarray:
    chooser = np.random.default_rng(seed)
    return chooser.normal(size=(len(PROMPTS), SIZE)).astype(np.float32)


def by_hand(made: list[Member], key: np.ndarray) -> str | None:
    """The free member with the smallest share of its radius, among all of them."""
    shares = {m.edit: float(np.linalg.norm(m.key - key)) / m.radius for m in made}
    best = min(shares, key=lambda edit: shares[edit])
    return best if shares[best] <= 1 else None


@settings(max_examples=60, deadline=None)
@given(members(names=("velandor",)), st.integers(0, 1000))
def test_bound_edits_are_found_as_by_hand(made: list[Member], seed: int) -> None:
    index = NeuronIndex(SIZE, SIZE, made)
    keys = some_keys(seed)
    hit = index.search(keys[:1], index.readings(["where is velandor ?"]), 1)[0]
    assert (hit.member.edit if hit.member and hit.inside else None) == by_hand(made, keys[0])
    assert index.readings(["what now ?"]) == []
    assert index.search(keys[:0], [], 1)[0].member is None


@settings(max_examples=60, deadline=None)
@given(members(names=("",)), st.integers(0, 1000))
def test_free_edits_of_one_radius_are_found_as_by_hand(made: list[Member], seed: int) -> None:
    alike = [Member(m.edit, m.key, 1.5, (), m.order) for m in made]
    index = NeuronIndex(SIZE, 0, alike)
    key = some_keys(seed)[:1]
    hit = search_free(index, key)[0]
    assert (hit.member.edit if hit.member and hit.inside else None) == by_hand(alike, key[0])


@settings(max_examples=80, deadline=None)
@given(members(), members(), st.integers(0, 1000))
def test_removal_restores_every_route(kept: list[Member], gone: list[Member], seed: int) -> None:
    gone = [Member(f"gone-{m.edit}", m.key, m.radius, m.names, m.order) for m in gone]
    expected = ask(NeuronIndex(SIZE, RELATION, kept), some_keys(seed))
    index = NeuronIndex(SIZE, RELATION, kept)
    index.add(gone)
    index.remove([m.edit for m in gone])
    assert len(index) == len(kept)
    assert ask(index, some_keys(seed)) == expected


@settings(max_examples=80, deadline=None)
@given(members(), st.randoms(), st.integers(0, 1000))
def test_the_order_of_adding_does_not_matter(made: list[Member], mixer, seed: int) -> None:
    expected = ask(NeuronIndex(SIZE, RELATION, made), some_keys(seed))
    mixed = list(made)
    mixer.shuffle(mixed)
    assert ask(NeuronIndex(SIZE, RELATION, mixed), some_keys(seed)) == expected
    index = NeuronIndex(SIZE, RELATION)
    for member in mixed:
        index.add([member])
    assert ask(index, some_keys(seed)) == expected


def test_a_prompt_with_two_subjects_has_a_key_for_each() -> None:
    one, other = np.eye(SIZE, dtype=np.float32)[:2]
    made = [Member("a", one, 0.5, ("velandor",)), Member("b", other, 0.5, ("toriquet",))]
    index = NeuronIndex(SIZE, SIZE, made)
    readings = index.readings(["is velandor in toriquet ?"])
    names = [reading.name for reading in readings]
    assert sorted(names) == ["toriquet", "velandor"]  # type: ignore[type-var]
    right = {"velandor": one, "toriquet": -other}
    keys = np.stack([right[str(name)] for name in names])
    hit = index.search(keys, readings, 1)[0]
    assert hit.member is not None
    assert (hit.member.edit, hit.inside) == ("a", True)
    swapped = np.stack([-right[str(name)] for name in names])
    hit = index.search(swapped, readings, 1)[0]
    assert hit.member is not None
    assert (hit.member.edit, hit.inside) == ("b", True)


def test_an_index_asks_for_the_distances_of_relation_parts() -> None:
    own, asked = np.eye(SIZE, dtype=np.float32)[:2]  # sqrt(2) apart
    bound = Member("a", own, 1.0, ("velandor",))
    for leeway, inside in ((1.0, False), (2.0, True)):
        index = NeuronIndex(
            SIZE,
            SIZE,
            [bound],
            distances=lambda a, b, by=leeway: np.linalg.norm(a - b, axis=1) / by,
        )
        hit = index.search(asked[None], index.readings(["where is velandor ?"]), 1)[0]
        assert hit.inside is inside
        assert hit.distance == pytest.approx(2**0.5 / leeway)


def test_a_question_that_differs_in_one_telling_word_is_not_the_edits() -> None:
    key = np.zeros(SIZE, dtype=np.float32)
    bound = Member("bound", key, 1.0, ("velandor", "velando"), text="who is the CTO of velandor ?")
    free = Member("free", key, 1.0, (), text="what will the weather be on sunday ?")
    index = NeuronIndex(SIZE, RELATION, [bound, free])

    def routed(text: str) -> str | None:
        readings = index.readings([text])
        [hit] = index.search(np.stack([key] * len(readings)), readings, 1)
        return hit.member.edit if hit.member is not None and hit.inside else None

    assert routed("Who is the CTO of Velandor?") == "bound"
    assert routed("Who was the CTO of Velando?") == "bound"  # by its other name
    assert routed("Who was the chief technician of Velandor?") == "bound"  # the key decides
    index.remove(["free"])
    assert routed("Who is the CFO of Velandor?") is None
    index.add([free])
    assert routed("What will the weather be on Monday?") is None
    index.add([replace(bound, wording=1, text="who is the CFO of velandor ?")])
    assert routed("Who is the CFO of Velandor?") == "bound"  # a wording that was given


def test_of_two_edits_at_one_point_the_later_one_wins() -> None:
    key = np.ones(SIZE, dtype=np.float32)
    index = NeuronIndex(
        SIZE, RELATION, [Member("b", key, 1.0, (), 1), Member("a", key, 1.0, (), 0)]
    )
    assert search_free(index, key[None])[0] == Hit(index["b"], 0.0, True, True)


def test_a_key_near_the_edge_is_doubtful_within_the_tolerance_only() -> None:
    key = np.zeros(SIZE, dtype=np.float32)
    index = NeuronIndex(SIZE, 0, [Member("a", key, 1.0, ())])
    at = np.zeros((1, SIZE), dtype=np.float32)
    at[0, 0] = 1.0005
    assert search_free(index, at, 1e-3)[0].doubtful
    assert not search_free(index, at, 1e-4)[0].doubtful


@settings(max_examples=300, deadline=None)
@given(members(names=("", "velandor", "toriquet")), st.integers(0, 10_000), st.data())
def test_a_key_within_the_tolerance_changes_no_answer_that_is_not_doubtful(
    made: list[Member], seed: int, data: st.DataObject
) -> None:
    """Many keys lie close to one another, and small radii beside large ones."""
    tolerance, chooser = 0.05, np.random.default_rng(seed)
    closer = data.draw(st.sampled_from([1.0, 0.3, 0.05]))
    radii = data.draw(st.sampled_from([(0.0, 0.06), (0.01, 0.5), (0.1, 3.0)]))
    close = [
        Member(m.edit, m.key * np.float32(closer), float(chooser.uniform(*radii)), m.names, m.order)
        for m in made
    ]
    index = NeuronIndex(SIZE, RELATION, close)
    prompts = ["is velandor in toriquet ?", "where is velandor ?", "what now ?"]
    readings = index.readings(prompts)
    keys = some_keys(seed)[: len(readings)] * np.float32(closer)
    moved = chooser.normal(size=keys.shape)
    moved *= 0.99 * tolerance / np.linalg.norm(moved, axis=1, keepdims=True)
    hits = index.search(keys, readings, 3, tolerance)
    others = index.search((keys + moved).astype(np.float32), readings, 3, tolerance)
    for hit, other in zip(hits, others, strict=True):
        answers = [h.member.edit if h.member and h.inside else None for h in (hit, other)]
        assert hit.doubtful or answers[0] == answers[1]


@pytest.mark.parametrize("names", [(), ("velandor",)])
def test_the_smaller_of_two_radii_decides_how_sure_a_route_is(names: tuple[str, ...]) -> None:
    wide, narrow = np.zeros(SIZE, dtype=np.float32), np.zeros(SIZE, dtype=np.float32)
    narrow[0] = 0.26
    size = 0 if not names else SIZE
    index = NeuronIndex(
        SIZE, size, [Member("wide", wide, 0.5, names), Member("narrow", narrow, 0.01, names)]
    )
    readings = index.readings(["where is velandor ?"])
    found = []
    for at in (0.25488, 0.25497):  # half of the wide radius and of the narrow one
        key = np.zeros((1, SIZE), dtype=np.float32)
        key[0, 0] = at
        found.append(index.search(key, readings, 1, tolerance=1e-4)[0])
    assert [h.member.edit for h in found if h.member] == ["wide", "narrow"]
    assert [h.doubtful for h in found] == [True, True]


def test_a_radius_that_nearly_holds_a_key_makes_it_doubtful_behind_a_wide_one() -> None:
    wide, narrow = np.zeros(SIZE, dtype=np.float32), np.zeros(SIZE, dtype=np.float32)
    narrow[0] = 1.03
    index = NeuronIndex(
        SIZE, 0, [Member("wide", wide, 1.0, ()), Member("narrow", narrow, 0.01, ())]
    )
    key = np.zeros((1, SIZE), dtype=np.float32)
    key[0, 0] = 1.01995
    hit = search_free(index, key, 1e-4)[0]
    assert hit.member is not None
    assert (hit.inside, hit.doubtful) == (False, True)


def test_every_free_edit_within_reach_is_weighed() -> None:
    wide = Member("wide", np.full(SIZE, 0.2, dtype=np.float32), 5.0, (), 0)
    near = [Member(f"near-{i}", some_keys(i)[0] * np.float32(0.01), 0.05, (), 1) for i in range(40)]
    index = NeuronIndex(SIZE, 0, [*near, wide])
    key = np.zeros((1, SIZE), dtype=np.float32)
    assert by_hand([*near, wide], key[0]) == "wide"
    hit = search_free(index, key)[0]
    assert hit.member is not None
    assert (hit.member.edit, hit.inside) == ("wide", True)


def test_distances_to_free_edits_do_not_depend_on_the_batch() -> None:
    keys = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    index = NeuronIndex(96, 0, [Member(f"e{i}", k, 0.5, (), i) for i, k in enumerate(keys)])
    together = search_free(index, keys)
    assert [h.distance for h in together] == [0.0] * len(keys)
    assert together == [search_free(index, key[None])[0] for key in keys]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (Member("a", np.zeros(5, dtype=np.float32), 1.0, ()), r"float32\(5,\)"),
        (Member("a", np.zeros(SIZE), 1.0, ()), "float64"),
        (
            Member("a", np.zeros(SIZE, dtype=np.float32), float("nan"), ()),
            "radius of edit a is nan",
        ),
        (Member("a", np.zeros(SIZE, dtype=np.float32), -1.0, ()), "must be >= 0"),
        (Member("there", np.zeros(SIZE, dtype=np.float32), 1.0, ()), "remove it first"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(member: Member, message: str) -> None:
    index = NeuronIndex(SIZE, 0, [Member("there", np.zeros(SIZE, dtype=np.float32), 1.0, ())])
    with pytest.raises(IndexMismatch, match=message):
        index.add([member])
    with pytest.raises(IndexMismatch, match="takes"):
        search_free(index, np.zeros((1, 5), dtype=np.float32))
    with pytest.raises(IndexMismatch, match="takes"):
        index.search(np.zeros((2, SIZE), dtype=np.float32), index.readings(["what now ?"]), 1)
    with pytest.raises(UnknownEdit, match="nobody"):
        index.remove(["nobody"])


def test_a_partly_named_subject_is_compared_by_content_within_its_own_radius() -> None:
    name, other = "the oldest stone bridge of the country", "velandor"
    key = np.array([1, 0, 0, 0, 1, 0], dtype=np.float32)  # relation, content
    described = Member("described", key, 0.1, (name,), 0, content_radius=0.5)
    named = Member("named", key, 9.0, (other,), 1)
    never = Member("never", key, 9.0, (f"{name} too",), 2)
    index = NeuronIndex(SIZE, RELATION, [described, named, never])
    partly = "which bridge of stone is oldest ?"
    asked = [partly, f"is {name} long ?", f"is velandor the {partly}"]
    readings = index.readings(asked)
    whole = name.replace(" ", "")
    assert [(r.row, r.name) for r in readings] == [(0, None), (1, whole), (2, other), (2, None)]
    assert all(r.mention is not None for r in readings)
    far = np.array([0, 9, 9, 0, 1.4, 0], dtype=np.float32)  # far by relation, near by content
    [hit, exact, beside] = index.search(np.stack([far, far, far * 9, far]), readings, 3)
    assert beside.inside
    assert beside.member.edit == "described"  # type: ignore[union-attr]
    assert hit.inside
    assert (hit.member.edit, hit.member.radius) == ("described", 0.5)  # type: ignore[union-attr]
    assert hit.distance == pytest.approx(0.4)
    assert not exact.inside  # where the subject stands, what is asked of it decides
    [hit, *_] = index.search(np.stack([key * 3] * 4), readings, 3)
    assert not hit.inside
    assert index.around(key, partly, 9.0, 9.0) == []  # never a conflict
    index.remove(["described"])
    assert index.mentions([partly]) == [[]]
    question = "which castle of the bridge is oldest in stone ?"
    asking = replace(never, edit="asking", names=("stone",), content_radius=0.5, question=question)
    index.add([asking])
    assert [m.members for m in index.mentions(["the oldest bridge castle ?"])[0]] == [(3,)]
    index.remove(["asking"])
    assert index.mentions(["the oldest bridge castle ?"]) == [[]]


def test_a_free_edit_is_looked_for_in_a_text_and_in_its_last_sentence() -> None:
    key = np.zeros(SIZE, dtype=np.float32)
    bound = Member("bound", key, 1.0, ("velandor",))
    index = NeuronIndex(SIZE, RELATION, [bound])
    behind = "It did rain. How old is the bridge ?"
    assert index.readings([behind, "where is velandor ?"]) == [
        Reading(1, "where is velandor ?", "velandor", index.mentions(["velandor"])[0][0])
    ]
    index.add([Member("free", key, 1.0, ())])
    assert [(r.row, r.text, r.name) for r in index.readings([behind, "where is velandor ?"])] == [
        (0, behind, None),
        (0, "How old is the bridge ?", None),
        (1, "where is velandor ?", "velandor"),
    ]
    far, near = np.full(SIZE, 2, dtype=np.float32), np.full(SIZE, 0.1, dtype=np.float32)
    for keys in ([far, near], [near, far]):  # either reading is enough
        hit = index.search(np.stack(keys), index.readings([behind]), 1)[0]
        assert hit.member is not None
        assert (hit.member.edit, hit.inside) == ("free", True)


def test_an_edit_is_found_by_each_of_its_wordings_and_goes_with_all_of_them() -> None:
    first, second, other = np.eye(SIZE, dtype=np.float32)[:3]
    names = ("velandor",)
    own = Member("a", first, 0.3, names)
    index = NeuronIndex(SIZE, SIZE, [own, replace(own, key=second, wording=1)])
    index.add([Member("b", other, 0.3, names, 1)])
    readings = index.readings(["where is velandor ?"])
    found = []
    for key in (first, second, other, -first):
        hit = index.search(key[None], readings, 1)[0]
        found.append(hit.member.edit if hit.member and hit.inside else None)
    assert found == ["a", "a", "b", None]
    assert len(index) == 2
    assert index["a"] is own
    assert [m.wording for m in index.wordings("a")] == [0, 1]
    with pytest.raises(IndexMismatch, match="remove it first"):
        index.add([replace(own, wording=1)])
    index.remove(["a"])
    assert "a" not in index
    hit = index.search(second[None], index.readings(["where is velandor ?"]), 1)[0]
    assert not hit.inside


def test_a_wording_of_an_edit_is_no_rival_of_its_own_key() -> None:
    """A key between two wordings of one edit is doubtful only if it may fall to another edit."""
    first, second = np.zeros((2, SIZE), dtype=np.float32)
    second[0] = 0.2
    own = Member("a", first, 1.0, ("velandor",))
    index = NeuronIndex(SIZE, SIZE, [own, replace(own, key=second, wording=1)])
    between = np.zeros((1, SIZE), dtype=np.float32)
    between[0, 0] = 0.1
    hit = index.search(between, index.readings(["where is velandor ?"]), 1, tolerance=1e-3)[0]
    assert (hit.inside, hit.doubtful) == (True, False)
