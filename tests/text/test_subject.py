from __future__ import annotations

import pytest

from text import subject_may_stand_in

STANDS = [
    ("诺维克的负责人是谁？", "诺维克"),
    ("東京支店の店長は誰ですか？", "東京支店"),
    ("노르빅의 대표는 누구입니까?", "노르빅"),
    ("ใครเป็นผู้นำของนอร์วิก", "นอร์วิก"),
    ("Кто руководит Норвиком?", "Норвик"),
    ("Missä on Tampereen toimisto?", "Tampere"),
    ("Kto kieruje Norwikiem Zachodnim?", "Norwik Zachodni"),
    ("Kdo je starostou Prahy?", "Praha"),
    ("Where is the 😀 shop?", "😀"),
    ("Who wrote Jose Nunez's book?", "José Núñez"),
    ("من يحكم بالنرويج؟", "النرويج"),
    ("Who leads Nrovik Labs?", "Norvik Labs"),
    ("Wer leitet das Norvikbüro?", "Norvik"),
    ("Is Colombia's Andes in Antioquia?", "Andes, Antioquia, Colombia"),
    ("Where is the A 380 built?", "A380"),
    ("İZMİR nerede?", "izmir"),
]
STANDS_NOT = [
    ("Who is the PM of the UK?", "United Kingdom"),
    ("Who leads Odesa?", "Kyiv"),
    ("上海的市长是谁", "北京"),
    ("서울의 시장은 누구입니까?", "부산"),
    ("Where is the 😀 shop?", "🚀"),
    ("Where was Obama born?", "Barack Hussein"),
    ("What opened in 1990?", "1991"),
]


@pytest.mark.parametrize(("prompt", "name"), STANDS)
def test_a_subject_that_may_be_found_is_let_through(prompt: str, name: str) -> None:
    assert subject_may_stand_in(prompt, [name])


@pytest.mark.parametrize(("prompt", "name"), STANDS_NOT)
def test_a_subject_that_is_not_there_is_refused_but_for_an_alias(prompt: str, name: str) -> None:
    assert not subject_may_stand_in(prompt, [name])
    assert subject_may_stand_in(prompt, [name, prompt.split()[-1]])
