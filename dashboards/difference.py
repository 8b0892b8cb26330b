"""What changed between two answers, word by word, as markup for a page."""

from __future__ import annotations

from difflib import SequenceMatcher

from dashboards.parts import escape


def marked(before: str | None, after: str | None) -> tuple[str, str]:
    """Both texts with what differs marked: struck out in the first, bold in the second."""
    old, new = (before or "").split(), (after or "").split()
    left, right = [], []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = escape(" ".join(old[a:b])), escape(" ".join(new[c:d]))
        if tag == "equal":
            left.append(gone)
            right.append(come)
            continue
        if gone:
            left.append(f":orange-background[~~{gone}~~]")
        if come:
            right.append(f":blue-background[**{come}**]")
    return " ".join(left) or "*nothing*", " ".join(right) or "*nothing*"
