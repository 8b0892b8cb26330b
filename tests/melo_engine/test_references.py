"""A follow-up points back at what was said before it; a question that stands alone does not."""

from __future__ import annotations

import pytest

from melo_engine.matching.references import points_back

FOLLOW_UPS = [
    "And how much is it?",
    "And its capital?",
    "Which button?",
    "How much is that?",
    "And the price?",
    "Who founded them?",
    "How much is it for two?",
    "Can I use it to pay?",
    "WHO MADE IT IN THE END?",
    "Where was she born?",
    "And how old is he?",
    "Wie viel kostet das?",
    "Wie reinige ich ihn?",
    "Und der Preis?",
    "Combien coûte-t-elle ?",
    "Et le prix ?",
    "¿Y el precio?",
    "Quanto costa questo?",
    "E a garantia dele?",
    "Сколько она стоит?",
    "هل هو متوفر؟",
    "它多少钱?",
    "それはいくらですか",
    "그것은 얼마예요?",
]
ALONE = [
    "Do you ship on Sundays?",
    "What is your phone number?",
    "And do you deliver to islands as well?",
    "Is it possible to order by phone?",
    "Is it also allowed to bring a dog?",
    "Is it true that you close in August?",
    "How long does it take to deliver to islands?",
    "Who leads the IT department at Norvik?",
    "Aus welchem Land kommt her, was Norvik verkauft?",
    "Her gün saat kaçta açılıyorsunuz?",
    "¿A qué hora he de llegar al hotel?",
    "Haben Sie sonntags geöffnet?",
    "Wie lautet die Adresse?",
    "Quels sont vos horaires d'ouverture ?",
    "¿Está abierto los domingos?",
    "Qual è il vostro indirizzo?",
    "Pazar günleri açık mısınız?",
    "Работаете ли вы в воскресенье?",
    "你们周末营业吗?",
    "営業時間は何時ですか",
]


@pytest.mark.parametrize("question", FOLLOW_UPS)
def test_a_follow_up_points_back(question: str) -> None:
    assert points_back(question)


@pytest.mark.parametrize("question", ALONE)
def test_what_stands_alone_does_not(question: str) -> None:
    assert not points_back(question)
