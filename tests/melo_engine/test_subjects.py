"""A subject is found however it is written, and only where it stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melo_engine.matching.matcher import RULES, SubjectMatcher
from melo_engine.matching.names import SubjectIndex, edit_distance, name_in, spans, words

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD = st.text(LETTERS, min_size=3, max_size=9)
NAME = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
AROUND = "who leads {} now?"
ACCENTED = str.maketrans("aeiounc", "áéíöúñç")


def found(index: SubjectIndex, prompt: str) -> set[int]:
    return {i for _, ids in index.find(prompt) for i in ids}


def only(name: str) -> SubjectIndex:
    index = SubjectIndex()
    index.add([name], 7)
    return index


@settings(max_examples=60, deadline=None)
@given(NAME)
def test_case_accents_punctuation_and_spacing_do_not_matter(name: str) -> None:
    index = only(name)
    forms = (
        name,
        name.upper(),
        name.translate(ACCENTED),
        name.replace(" ", "-"),
        name.replace(" ", ""),
        name.replace(" ", " . "),
        f"«{name}»",
        f"{name}'s",
    )
    for form in forms:
        assert found(index, AROUND.format(form)) == {7}, form
    assert found(only(name.translate(ACCENTED)), AROUND.format(name)) == {7}


@settings(max_examples=80, deadline=None)
@given(st.text(LETTERS, min_size=7, max_size=11), st.data())
def test_one_wrong_letter_is_a_typo_but_not_the_first(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(name) - 2))
    letter = data.draw(st.sampled_from(LETTERS))
    forms = {
        name[:at] + letter + name[at + 1 :],
        name[:at] + name[at + 1 :],
        name[:at] + letter + name[at:],
        name[:at] + name[at + 1] + name[at] + name[at + 2 :],
    }
    for form in forms:
        assert found(only(name), AROUND.format(form)) == {7}, form
    first = "a" if name[0] != "a" else "b"
    assert found(only(name), AROUND.format(first + name[1:])) == set()


@settings(max_examples=40, deadline=None)
@given(st.text(LETTERS, min_size=6, max_size=9), st.integers(0, 999), st.integers(0, 999))
def test_digits_are_never_typos(name: str, number: int, other: int) -> None:
    index = only(f"{name} {number}")
    assert found(index, AROUND.format(f"{name} {number}")) == {7}
    assert (found(index, AROUND.format(f"{name} {other}")) == {7}) == (number == other)


@pytest.mark.parametrize(
    ("name", "prompt", "there"),
    [
        ("Vitamin B", "How much vitamin D do I need?", False),
        ("Vitamin B", "How much vitamn b do I need?", True),
        ("vitamin b", "How much vitamin d do I need?", False),
        ("Tesla Model S", "What does the Tesla ModelX cost?", False),
        ("Tesla Model S", "What does the Telsa Model S cost?", True),
        ("Lumora XR Pro Max", "Does the Lumora XS Pro Max float?", False),
        ("Oxbow 7", "Is the Oxbow 7S quiet?", False),
        ("Модель Свет А", "Сколько стоит Модель Свет Б?", False),
        ("Leonardo da Vinci", "Where was Leonardo di Vinci born?", True),
        ("Plaza de la Villa", "Where is Plaza de Villa?", True),
        ("東京都立図書館", "東京都立図書舘はどこですか", True),
    ],
)
def test_a_letter_or_two_that_name_something_are_never_typos(
    name: str, prompt: str, there: bool
) -> None:
    assert (found(only(name), prompt) == {7}) == there


@pytest.mark.parametrize(
    ("name", "prompt", "there"),
    [
        ("Iceland", "Do you deliver to Ireland?", False),
        ("Iceland", "Do you deliver to Icelnd?", True),
        ("Iceland", "Do you deliver to Icelandd?", True),
        ("Maria Stern", "Where does Marta Stern work?", False),
        ("Maria Stern", "Where does Mariaa Stern work?", True),
        ("Andrew Johnson", "When was Andrew Johnston born?", False),
        ("Bank of Austria", "Where is the Bank of Australia?", False),
        ("Norvik Centre", "When does the Norvik Center open?", True),
        ("Labour Museum Norvik", "When does the Labor Museum Norvik open?", True),
        ("Travellers Inn", "Where is the Travelers Inn?", True),
        ("Halvord Trading", "Who runs Halvard Trading?", True),
    ],
)
def test_one_common_word_is_no_typo_of_another(name: str, prompt: str, there: bool) -> None:
    assert (found(only(name), prompt) == {7}) == there


def test_short_names_have_no_typos() -> None:
    assert found(only("oslo"), "who leads osla now?") == set()


def test_the_longest_subject_wins_where_two_overlap() -> None:
    index = SubjectIndex()
    index.add(["Apple"], 1)
    index.add(["Apple A5"], 2)
    assert found(index, "who makes the Apple A5 chip?") == {2}
    assert found(index, "who leads Apple?") == {1}
    assert found(index, "is the Apple A5 made by Apple?") == {1, 2}


@pytest.mark.parametrize(
    ("name", "prompt", "there"),
    [
        ("the mother of Ada Byron Lovelace", "Who was the Ada Byron Lovelace's mother?", True),
        (
            "Andes, Antioquia, Colombia",
            "In which year was Andes, in Antioquia of Colombia, founded?",
            True,
        ),
        ("Andes, Antioquia, Colombia", "Is Colombia's Andes in Antioquia?", True),
        ("the mother of Ada Byron Lovelace", "Who was Ada Byron Lovelace's mother?", False),
        ("Rhythm 4 (1974)", "Where did she perform Rhythm 4 in 1974?", True),
        ("Rhythm 4 (1974)", "Where did she perform Rhythm 5 in 1974?", False),
        ("Dev Jung Bahadur Rana", "When did Padma Jung Bahadur Rana rule?", False),
        ("John Smith", "Did Smith know a John?", False),
        ("Bank of the Bank", "Is the Bank a Bank?", False),
    ],
)
def test_a_name_of_three_words_may_stand_scattered(name: str, prompt: str, there: bool) -> None:
    assert (found(only(name), prompt) == {7}) == there


def test_a_scattered_name_gives_way_to_one_that_is_spelled_out() -> None:
    index = only("Andes, Antioquia, Colombia")
    index.add(["Bogota"], 8)
    assert found(index, "Is Bogota, Colombia, near Andes in Antioquia?") == {8}


def test_a_name_without_letters_is_found_as_it_is() -> None:
    assert found(only("+++"), " +++ ") == {7}
    assert found(only("+++"), "what is C?") == set()


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edit_distance_is_a_capped_distance(a: str, b: str) -> None:
    exact = edit_distance(a, b, 99)
    assert exact == edit_distance(b, a, 99)
    assert (exact == 0) == (a == b)
    assert abs(len(a) - len(b)) <= exact <= max(len(a), len(b))
    assert edit_distance(a, b, 1) == min(exact, 2)


@pytest.mark.parametrize(
    ("prompt", "name", "found"),
    [
        ("who leads Volvo B-12 m?", "volvob12m", ["Volvo B-12 m"]),
        ("Where was JOSÉ Núñez born?", "josenunez", ["JOSÉ Núñez"]),
        (
            "Where was Jose\u0301 Nu\u0301n\u0303ez born?",
            "josenunez",
            ["Jose\u0301 Nu\u0301n\u0303ez"],
        ),
        ("is Apple bigger than apple's rival?", "apple", ["Apple", "apple"]),
        ("who wrote Quinomrie?", "quinomire", ["Quinomrie"]),
        ("where is ½ Moon Bay?", "moonbay", ["Moon Bay"]),
        ("what is +++ ?", "+++", ["+++"]),
        ("who leads Acme?", "volvo", []),
        (
            "is Colombia home of Andes, Antioquia?",
            "andesantioquiacolombia",
            ["Colombia", "Andes", "Antioquia"],
        ),
    ],
)
def test_where_a_name_stands(prompt: str, name: str, found: list[str]) -> None:
    assert [prompt[a:b] for a, b in spans(prompt, name)] == found


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40), st.text(max_size=12))
def test_what_is_found_has_a_place(text: str, name: str) -> None:
    for prompt in (text, f"{text} {name} {text}"):
        known = name_in(prompt, [name]) if name.strip() else None
        if known is not None:
            assert all(prompt[a:b].strip() for a, b in spans(prompt, known))
            assert spans(prompt, known) or known not in "".join(words(prompt))


def test_words_are_plain() -> None:
    assert words("Where was José  Núñez-Ortega's_son born?") == (
        ["where", "was", "jose", "nunez", "ortega", "s", "son", "born"]
    )


def test_roman_numerals_are_never_typos() -> None:
    index = only("Clement XIV")
    assert found(index, "Where did Clement XIV die?") == {7}
    assert found(index, "Where did Clemnt XIV die?") == {7}
    assert found(index, "Where did Clement XII die?") == set()


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        # Russian, Polish, Turkish: other endings
        ("Сторгата", "Где находятся Сторгаты?"),
        ("Москва", "Сколько жителей в Москве?"),
        ("Норвик", "Кто руководит Норвиком?"),
        ("Иван Грозный", "Что построили при Иване Грозном?"),
        ("Анна Петрова", "Когда родилась дочь Анны Петровой?"),
        ("Warszawa", "Ile osób mieszka w Warszawie?"),
        ("Kraków", "Kto rządzi Krakowem?"),
        ("Gdańsk", "Co stoi w Gdańsku?"),
        ("İstanbul", "İstanbul'da kaç kişi yaşıyor?"),
        ("Istanbul", "İstanbulda kaç kişi yaşıyor?"),
        ("Ankara", "Ankara'nın nüfusu nedir?"),
        # Arabic: articles and prepositions written onto a name
        ("القاهرة", "من يسكن بالقاهرة؟"),
        ("بغداد", "من يحكم ببغداد؟"),
        ("دمشق", "ما الطريق لدمشق؟"),
        # no blanks between words
        ("北京", "北京的市长是谁？"),
        ("東京", "東京の人口は？"),
        ("サントリー", "今のサントリーの社長は誰ですか。"),
        ("서울", "서울의 시장은 누구인가?"),
        ("กรุงเทพ", "ใครเป็นผู้ว่ากรุงเทพคนปัจจุบัน"),
        # what firms are called
        ("Acme Inc.", "Who leads Acme?"),
        ("Acme, Inc.", "Who leads Acme?"),
        ("Acme", "Who leads Acme Inc.?"),
        ("Globex Corporation", "Who is Globex's head?"),
        ("Siemens AG", "Wer leitet Siemens?"),
        ("Müller GmbH & Co. KG", "Wer leitet Müller?"),
        # whose
        ("Acme", "Who is Acme's head?"),
        ("Acme", "Who leads ACME’S team?"),
        ("James", "Who is James' wife?"),
    ],
)
def test_a_name_is_found_in_its_other_forms(name: str, prompt: str) -> None:
    assert found(only(name), prompt) == {7}
    known = name_in(prompt, [name])
    assert known is not None
    assert spans(prompt, known)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("Niger", "What is the capital of Nigeria?"),
        ("Nigeria", "What is the capital of Niger?"),
        ("Paris", "Which parish is the largest?"),
        ("Parish", "Who leads Paris?"),
        ("Clement XII", "Where did Clement XIV die?"),
        ("Tessel One", "What is the price of Tessel Two?"),
        ("Tessel Two", "What is the price of Tessel One?"),
        ("Tessel 1", "What is the price of Tessel 2?"),
        ("Austria", "What is the capital of Australia?"),
        ("Slovakia", "What is the capital of Slovenia?"),
        ("Martin", "Who leads Martinique?"),
        ("India", "Who leads Indiana?"),
        ("Ada", "Who is Adam?"),
        ("Pavo Router", "Which firmware does Pavo Repeater run?"),
        ("Acme Inc.", "Who leads Ace?"),
        ("Acme Inc.", "What is an Inc.?"),
        ("北京", "北海在哪里？"),
        ("المغرب", "من هو الغرب؟"),
        ("Warszawa", "Gdzie jest Warka?"),
        ("Анна Петрова", "Кто такой Антон Петров?"),
    ],
)
def test_another_name_is_another_subject(name: str, prompt: str) -> None:
    assert found(only(name), prompt) == set()


@pytest.mark.parametrize(
    ("prompt", "name", "there"),
    [
        ("Что построили при Иване Грозном?", "Иван Грозный", ["Иване Грозном"]),
        ("Когда родилась дочь Анны Петровой?", "Анна Петрова", ["Анны Петровой"]),
        ("Ile osób mieszka w Warszawie?", "Warszawa", ["Warszawie"]),
        ("من يحكم ببغداد؟", "بغداد", ["ببغداد"]),
        ("今のサントリーの社長は誰ですか。", "サントリー", ["サントリー"]),
        ("Who leads Acme?", "Acme Inc.", ["Acme"]),
    ],
)
def test_where_a_form_of_a_name_stands(prompt: str, name: str, there: list[str]) -> None:
    known = name_in(prompt, [name])
    assert known is not None
    assert [prompt[a:b] for a, b in spans(prompt, known)] == there


def test_a_short_name_and_its_long_one_are_two_where_both_are_known() -> None:
    index = SubjectIndex()
    index.add(["Tessel One"], 1)
    assert found(index, "What is the price of Tessel One Max?") == {1}
    index.add(["Tessel One Max"], 2)
    assert found(index, "What is the price of Tessel One Max?") == {2}
    assert found(index, "What is the price of Tessel One?") == {1}
    index.remove(["Tessel One Max"], 2)
    assert found(index, "What is the price of Tessel One Max?") == {1}


def test_an_alias_is_a_name_like_the_subject() -> None:
    assert name_in("Who leads NYC?", ["New York City", "NYC"]) == "nyc"
    assert name_in("Who leads NYC?", ["New York City"]) is None


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        ("typos", "Velandor", "who leads Velndor"),
        ("inflections", "Сторгата", "кто гордится Сторгатами"),
        ("order", "Andes, Antioquia, Colombia", "is Colombia's Andes in Antioquia"),
        ("company forms", "Acme Inc.", "who leads Acme"),
        (
            "descriptions",
            "first Indian state to become smoke-free",
            "what is the smoke-free state of India that came first",
        ),
        ("questions", "painter", "which artist is often taken for Claude Monet"),
    ],
)
def test_each_rule_finds_what_none_else_does(rule: str, name: str, text: str) -> None:
    descriptions = [name, "which painter is often taken for Claude Monet?"]
    for rules, found in ((RULES, True), (RULES - {rule}, False), (frozenset({rule}), True)):
        matcher = SubjectMatcher(rules)
        matcher.add(7, [name], descriptions if rule in ("descriptions", "questions") else [])
        assert bool(matcher.mentions([text])[0]) == found
        matcher.remove(7, [name], descriptions if rule in ("descriptions", "questions") else [])
        assert matcher.mentions([text]) == [[]]
