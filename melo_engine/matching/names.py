"""Which known names stand in a text: case, accents, punctuation, spacing, endings and typos aside.

    "Where was José  Núñez-Ortega born?"
        words       where was jose nunez ortega born; in scripts without spaces each character is a word
        joined      every run of words, glued together, is looked up:  josenunezortega  -> found
        typos       else every name that shares one of its long words (or, for one word, all but one
                    letter) with the text is compared by edit distance
        inflected   else a name whose words stand with other endings: "Сторгаты" for "Сторгата"
        order       else a name of three words or more may stand scattered, "Andes, Antioquia, Colombia"
                    in "Is Colombia's Andes in Antioquia?"; words of one or two letters may be missing

The longest name wins where two overlap, so "Apple" does not stand in "Apple A5 chip" once
"Apple A5" is known. Digits are never typos, nor is a Roman numeral.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

from rapidfuzz.distance import OSA, Prefix

# Thai, Lao, Tibetan, Burmese, Khmer, Hangul (as jamo), kana, Han: words are not set apart by spaces.
_SPACELESS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SPACELESS_CHAR = re.compile(f"[{_SPACELESS}]")
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W_{_SPACELESS}]+")
_ROMAN = re.compile(r"[ivx]+")
_LATIN = re.compile(r"[a-z0-9]+")
_ARTICLED = re.compile(
    "[\u0590-\u06ff]+"
)  # Hebrew and Arabic write articles and prepositions onto words
MIN_TYPO_LENGTH = 6
LONG_TYPO_LENGTH = 12
TELLING_LENGTH = 3  # letters of a word that counts where a name stands scattered
TELLING_WORDS = 3  # such words that a name needs for that
STEM_LENGTH = 4  # letters that a name's longest word begins with in any of its forms
SHORT_STEM_LENGTH = 3  # letters that its other words begin with, where a script is not Latin
ENDING = 3  # letters that an ending, or a prefix written onto a word, may have
BEGINNING = 3  # letters of a name that a text must have at a place to have the name there
MANY = 8  # names that share a word with a text: so many are sifted by their lengths first
NO_NAMES: frozenset[str] = frozenset()  # one for all words that are like no name
REMEMBERED = 100_000  # words of texts whose candidates are remembered
COMPANY_FORMS = frozenset(
    "inc incorporated llc llp ltd limited plc corp corporation co gmbh ag kg se sa sas sarl spa srl bv "
    "nv ab as asa oy oyj kk pty pte".split()
)


def words(text: str) -> list[str]:
    """Lower-case words without accents or punctuation. `Núñez's` gives ["nunez", "s"]."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if not unicodedata.combining(c)).replace("ı", "i")
    return _WORD.findall(text.casefold())


def is_spaceless(char: str) -> bool:
    """Whether a character is of a script that sets no spaces between words."""
    return bool(_SPACELESS_CHAR.match(char))


def joined(name: str) -> str:
    """A name as the index knows it: its words glued together, or itself where it has none."""
    return "".join(words(name)) or name.strip().casefold()


def forms(name: str) -> list[str]:
    """A name and its short form: "Acme Inc." is called "Acme" as well."""
    parts = words(name)
    kept = list(parts)
    while len(kept) > 1 and kept[-1] in COMPANY_FORMS:
        kept.pop()
    long_enough = len("".join(kept)) >= TELLING_LENGTH
    return [name, " ".join(kept)] if kept != parts and long_enough else [name]


def _all_forms(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield from forms(name)


def spans(prompt: str, name: str) -> list[tuple[int, int]]:
    """Where a name, as `joined` or `SubjectIndex.find` give it, stands: [begin, end) in characters.

    Every place where it is spelled exactly; where there is none, the place most like it, and where
    there is none either its words.
    """
    plain, origin = _with_origin(prompt)
    found = list(_WORD.finditer(plain))
    limit, best = _typos_in(name), 0
    exact: list[tuple[int, int]] = []
    alike: list[tuple[int, int]] = []
    stem = name[:STEM_LENGTH]
    for i, first in enumerate(found):
        text = ""
        for last in found[i:]:
            text += last.group()
            if len(text) > len(name) + limit:
                break
            place = origin[first.start()], origin[last.end() - 1] + 1
            if text == name:
                exact.append(place)
            elif len(name) >= MIN_TYPO_LENGTH and _same_but_for_typos(name, text, limit):
                distance = edit_distance(name, text, limit)
                if not alike or distance < best:
                    alike, best = [place], distance
    if not _WORD.search(name) and (at := plain.find(name)) >= 0:
        exact = [(origin[at], origin[at + len(name) - 1] + 1)]
    return (
        exact
        or alike
        or _inflected_places(name, found, origin)
        or [
            (origin[word.start()], origin[word.end() - 1] + 1)
            for word in found
            if (_telling(word.group()) and word.group() in name)
            or (len(name) >= STEM_LENGTH and stem in word.group() and _is_form(name, word.group()))
        ]
    )


def _inflected_places(
    name: str, found: Sequence[re.Match[str]], origin: Sequence[int]
) -> list[tuple[int, int]]:
    """Where two or more words in a row are those of a name, with other endings."""
    places = []
    for i, first in enumerate(found):
        for count in range(2, len(found) - i + 1):
            run = found[i : i + count]
            if sum(len(word.group()) for word in run) > len(name) + ENDING * count:
                break
            if _is_inflected(name, [word.group() for word in run]):
                places.append((origin[first.start()], origin[run[-1].end() - 1] + 1))
                break
    return places


def _is_inflected(name: str, run: Sequence[str]) -> bool:
    """Whether a name, its words glued together, is this run of words but for their endings."""
    if not run:
        return len(name) <= ENDING
    shared = int(Prefix.similarity(name, run[0]))
    if shared < SHORT_STEM_LENGTH or len(run[0]) - shared > ENDING:
        return False
    return any(_is_inflected(name[shared + gap :], run[1:]) for gap in range(ENDING + 1))


def _with_origin(text: str) -> tuple[str, Sequence[int]]:
    """The text as `words` sees it, and which character each of its characters came from."""
    if text.isascii():
        return text.casefold(), range(len(text))
    plain, origin = "", []
    for i, char in enumerate(text):
        parts = unicodedata.normalize("NFKD", char)
        parts = (
            "".join(c for c in parts if not unicodedata.combining(c)).replace("ı", "i").casefold()
        )
        plain += parts
        origin += [i] * len(parts)
    return plain, origin


def edit_distance(a: str, b: str, limit: int) -> int:
    """Edits apart (adjacent swaps count one, OSA), `limit` + 1 where there are more."""
    return int(OSA.distance(a, b, score_cutoff=limit))


class SubjectIndex:
    """From names to the ids of the edits that they bind. Ids are small integers of the caller's."""

    def __init__(self) -> None:
        self._by_name: dict[str, set[int]] = defaultdict(set)  # joined name -> ids
        self._by_word: dict[str, set[str]] = defaultdict(set)  # long word -> joined names
        self._by_gap: dict[str, set[str]] = defaultdict(set)  # one-word name less a letter -> names
        self._by_longest: dict[str, dict[str, int]] = defaultdict(
            dict
        )  # longest word -> name: place
        self._by_stem: dict[str, set[str]] = defaultdict(
            set
        )  # beginning of a longest word -> words
        self._beginnings: set[str] = set()  # of joined names, all up to BEGINNING letters
        self._words: dict[str, list[str]] = {}  # joined name -> its words
        self._numerals: dict[str, list[str]] = {}  # joined name -> its Roman numerals
        self._telling: dict[
            str, frozenset[str]
        ] = {}  # joined name -> words it is known by scattered
        self._longest = 0
        # What was found for words of texts: most words of most texts have been seen before.
        self._alike: dict[str, frozenset[str]] = {}
        self._inflections: dict[str, tuple[tuple[str, int], ...]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def add(self, names: Iterable[str], member: int) -> None:
        """Bind each of `names` to `member`. A name without any letter or digit is kept as it is."""
        for name in _all_forms(names):
            parts = words(name) or [name.strip().casefold()]
            whole = "".join(parts)
            if whole not in self._words:
                self._words[whole] = parts
                self._numerals[whole] = _numerals(parts)
                if telling := _known_scattered(parts):
                    self._telling[whole] = telling
                self._index_for_typos(whole, parts)
                self._beginnings |= {whole[:n] for n in range(1, BEGINNING + 1)}
                self._longest = max(self._longest, len(whole))
                self._alike.clear()
                self._inflections.clear()
            self._by_name[whole].add(member)

    def remove(self, names: Iterable[str], member: int) -> None:
        """Undo `add`. A name that binds nothing any more no longer hides shorter ones."""
        for name in _all_forms(names):
            whole = joined(name)
            if whole in self._by_name:
                self._by_name[whole].discard(member)
                if not self._by_name[whole]:
                    del self._by_name[whole]

    def find(self, prompt: str) -> list[tuple[str, set[int]]]:
        """The subjects in the prompt, longest first, each with its ids. [] where there is none.

        Subjects spelled exactly come alone; subjects with typos are looked for only where no exact
        one stands in the prompt, scattered ones only where there is neither.
        """
        tokens = words(prompt)
        exact = self._exact(tokens)
        names = exact or self._not_exact(tokens)
        if not names and not tokens:
            names = [n for n in (prompt.strip().casefold(),) if n in self._by_name]
        return [(name, self._by_name[name]) for name in names]

    def _exact(self, tokens: Sequence[str]) -> list[str]:
        runs: list[tuple[int, int, str]] = []
        for start, token in enumerate(tokens):
            if token[:BEGINNING] not in self._beginnings:
                continue
            run = ""
            for end in range(start, len(tokens)):
                run += tokens[end]
                if len(run) > self._longest:
                    break
                if run in self._by_name:
                    runs.append((start, end + 1, run))
        runs.sort(key=lambda s: (-len(s[2]), s[0]))
        taken: list[tuple[int, int]] = []
        found: list[str] = []
        for start, end, run in runs:
            if all(end <= a or start >= b for a, b in taken):
                taken.append((start, end))
                if run not in found:
                    found.append(run)
        return found

    def _index_for_typos(self, whole: str, parts: list[str]) -> None:
        longest = max(parts, key=len)
        if len(longest) >= STEM_LENGTH and not longest.isdigit():
            self._by_stem[longest[:STEM_LENGTH]].add(longest)
            self._by_longest[longest][whole] = parts.index(longest)
        if len(whole) < MIN_TYPO_LENGTH:
            return
        if len(parts) == 1:
            for variant in _gaps(whole):
                self._by_gap[variant].add(whole)
            return
        # With one typo at least one of any two words is intact: file under the two longest.
        for part in sorted(set(parts), key=lambda p: (-len(p), p))[:2]:
            self._by_word[part].add(whole)

    def _not_exact(self, tokens: Sequence[str]) -> list[str]:
        candidates: set[str] = set()
        for token in tokens:
            candidates |= self._names_like(token)
        shared = candidates = candidates & self._by_name.keys()
        if not shared:
            return self._inflected(tokens)
        places = [0, *accumulate(len(token) for token in tokens)]  # letters before each token
        if len(candidates) > MANY:
            there_may_be = _sizes(tokens, places, max(map(len, candidates)))
            candidates = {n for n in candidates if len(n) in there_may_be.get(n[0], ())}
        found = [n for n in candidates if self._stands_in(n, tokens, places)]
        if not found:
            found = self._inflected(tokens)
        if not found:
            there = set(tokens)
            found = [n for n in shared if n in self._telling and self._telling[n] <= there]
        return sorted(found, key=lambda n: (-len(n), n))

    def _names_like(self, token: str) -> frozenset[str]:
        """Names that have this word, or are this one word but for a typo."""
        found = self._alike.get(token)
        if found is None:
            names = set(self._by_word.get(token, ()))
            if len(token) >= MIN_TYPO_LENGTH - 1 and self._by_gap:
                for variant in _gaps(token):
                    names |= self._by_gap.get(variant, set())
            found = _remembered(self._alike, token, frozenset(names) if names else NO_NAMES)
        return found

    def _inflected(self, tokens: Sequence[str]) -> list[str]:
        """Names whose words stand in their order, each as it is or with another ending."""
        found: dict[str, None] = {}
        for i, token in enumerate(tokens):
            for name, place in self._inflections_of(token):
                parts = self._words[name]
                run = tokens[max(0, i - place) : i - place + len(parts)]
                if (
                    name in self._by_name
                    and i >= place
                    and len(run) == len(parts)
                    and all(
                        _is_form(part, other, False)
                        for n, (part, other) in enumerate(zip(parts, run, strict=True))
                        if n != place
                    )
                ):
                    found[name] = None
        return sorted(found, key=lambda n: (-len(n), n))

    def _inflections_of(self, token: str) -> tuple[tuple[str, int], ...]:
        """Names whose longest word has this one as a form, and which of their words that is."""
        found = self._inflections.get(token)
        if found is None:
            starts = range(ENDING + 1 if _ARTICLED.match(token) else 1)
            alike = {
                longest
                for start in starts
                for longest in self._by_stem.get(token[start : start + STEM_LENGTH], ())
                if abs(len(longest) - len(token)) <= ENDING and _is_form(longest, token)
            }
            names = tuple(pair for longest in alike for pair in self._by_longest[longest].items())
            found = _remembered(self._inflections, token, names)
        return found

    def _stands_in(self, name: str, tokens: Sequence[str], places: Sequence[int]) -> bool:
        limit = _typos_in(name)
        size, letters, first = len(self._words[name]), len(name), name[0]
        for start, token in enumerate(tokens):
            if token[0] != first:
                continue
            for end in (start + size, start + size - 1, start + size + 1):
                if not start < end <= len(tokens):
                    continue
                if abs(places[end] - places[start] - letters) > limit:
                    continue
                run = tokens[start:end]
                if _numerals(run) == self._numerals[name] and _same_but_for_typos(
                    name, "".join(run), limit
                ):
                    return True
        return False


T = TypeVar("T")


def _remembered(known: dict[str, T], key: str, value: T) -> T:
    """Keep a value; when there are too many, all that was kept before goes."""
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value
    return value


def _is_form(word: str, other: str, alone: bool = True) -> bool:
    """Whether two words are forms of one: alike but for a short ending, or a prefix written onto it.

    Latin words must be longer and more alike: "Niger" is no form of "Nigeria". alone: whether it is
    the name's only or longest word; beside that one a short word will do, "Анны" for "Анна".
    """
    if word == other:
        return True
    if _ARTICLED.fullmatch(word) and len(word) >= STEM_LENGTH - 1:
        bare = other.removeprefix(other[: max(0, len(other) - len(word))])
        if bare == word and len(other) - len(word) <= ENDING:
            return True
    latin = bool(_LATIN.fullmatch(word))
    shared = int(Prefix.similarity(word, other))
    longer = max(len(word), len(other))
    shorter = min(len(word), len(other))
    least = STEM_LENGTH if alone or latin else SHORT_STEM_LENGTH
    if shared < least or (latin and shorter < MIN_TYPO_LENGTH):
        return False
    if longer - shared > ENDING or re.sub(r"\D", "", word) != re.sub(r"\D", "", other):
        return False
    return shared >= (0.75 if latin else 0.6) * longer


def _sizes(tokens: Sequence[str], places: Sequence[int], longest: int) -> dict[str, set[int]]:
    """By first letter how many letters a name may have that stands in the prompt, typos and all.

    longest: letters of the longest name in question, so that long prompts cost no more than short ones.
    """
    most = _typos_in("x" * LONG_TYPO_LENGTH)
    sizes: dict[str, set[int]] = defaultdict(set)
    for start, token in enumerate(tokens):
        for end in range(start + 1, len(tokens) + 1):
            letters = places[end] - places[start]
            if letters > longest + most:
                break
            sizes[token[0]].update(range(letters - most, letters + most + 1))
    return sizes


def name_in(prompt: str, names: Iterable[str]) -> str | None:
    """The longest of these names that stands in the prompt, as `joined`; None where none does."""
    index = SubjectIndex()
    index.add(names, 0)
    found = index.find(prompt)
    return found[0][0] if found else None


def _telling(word: str) -> bool:
    return len(word) >= TELLING_LENGTH or any(c.isdigit() for c in word)


def _known_scattered(parts: Sequence[str]) -> frozenset[str]:
    """The words that must all stand in a text where a name is scattered; none where it may not be."""
    telling = frozenset(word for word in parts if _telling(word))
    return telling if len(telling) >= TELLING_WORDS else frozenset()


def is_letter(name: str) -> bool:
    """Whether a name is a single Latin letter, which stands in prompts about anything."""
    whole = joined(name)
    return len(whole) == 1 and whole.isascii() and whole.isalpha()


def _numerals(parts: Sequence[str]) -> list[str]:
    """Roman numerals: Clement XII is another than Clement XIV."""
    return [word for word in parts if _ROMAN.fullmatch(word)]


def _typos_in(name: str) -> int:
    """How many typos a name may have."""
    return 2 if len(name) >= LONG_TYPO_LENGTH else 1


def _same_but_for_typos(name: str, other: str, limit: int) -> bool:
    """A word that is too short to have typos is none: "Paris" is not "Parish"."""
    if len(other) < MIN_TYPO_LENGTH or name[0] != other[0]:
        return False
    if edit_distance(name, other, limit) > limit:
        return False
    return re.sub(r"\D", "", name) == re.sub(r"\D", "", other)


def _gaps(word: str) -> set[str]:
    """The word and every string that lacks one of its letters: words one edit apart share one."""
    return {word} | {word[:i] + word[i + 1 :] for i in range(len(word))}
