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
"Apple A5" is known. Digits are never typos, nor is a Roman numeral, nor what stands in the place of a
letter or two that are a name of their own: "Vitamin D" is not "Vitamin B", nor "Lumora XS" "Lumora XR".
Nor is one common word a typo of another: "Ireland" is not "Iceland".
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

from rapidfuzz.distance import OSA, Postfix, Prefix

from melo_engine.sentence_encoder_files import common_words

# Thai, Lao, Tibetan, Burmese, Khmer, Hangul (as jamo), kana, Han: words are not set apart by spaces.
SPACELESS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SPACELESS_CHAR = re.compile(f"[{SPACELESS}]")
_WORD = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}]+")
_ROMAN = re.compile(r"[ivx]+")
_DOUBLED = re.compile(r"(.)\1")
_LATIN = re.compile(r"[a-z0-9]+")
_ARTICLED = re.compile(
    "[\u0590-\u06ff]+"
)  # Hebrew and Arabic write articles and prepositions onto words
MIN_TYPO_LENGTH = 6
DESIGNATION = 2  # letters of a word that tells names apart as a digit does: "Model S", "Lumora XR"
WORD_LENGTH = 4  # letters of a word that is another than a common word alike: "di" may be "da"
LONG_TYPO_LENGTH = 12
SIGNIFICANT_LENGTH = 3  # letters of a word that counts where a name stands scattered
SIGNIFICANT_WORDS = 3  # such words that a name needs for that
STEM_LENGTH = 4  # letters that a name's longest word begins with in any of its forms
SHORT_STEM_LENGTH = 3  # letters that its other words begin with, where a script is not Latin
ENDING = 3  # letters that an ending, or a prefix written onto a word, may have
BEGINNING = 3  # letters of a name that a text must have at a place to have the name there
MANY = 8  # names that share a word with a text: so many are sifted by their lengths first
NO_NAMES: frozenset[str] = frozenset()  # one object, shared by all words that are like no name
CACHED_WORDS = 100_000  # words of texts whose candidates are cached
RULES = frozenset({"typos", "inflections", "order", "company forms"})  # beyond names as they are
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


def has_spaceless(text: str) -> bool:
    """Whether some character of a text is of such a script."""
    return bool(_SPACELESS_CHAR.search(text))


def joined(name: str) -> str:
    """A name as the index knows it: its words glued together, or itself where it has none."""
    return "".join(words(name)) or name.strip().casefold()


def forms(name: str) -> list[str]:
    """A name and its short form: "Acme Inc." is called "Acme" as well."""
    parts = words(name)
    short = list(parts)
    while len(short) > 1 and short[-1] in COMPANY_FORMS:
        short.pop()
    long_enough = len("".join(short)) >= SIGNIFICANT_LENGTH
    return [name, " ".join(short)] if short != parts and long_enough else [name]


def spans(prompt: str, name: str) -> list[tuple[int, int]]:
    """Where a name, as `joined` or `SubjectIndex.find` give it, stands: [begin, end) in characters.

    Every place where it is spelled exactly; where there is none, the place most like it, and where
    there is none either its words.
    """
    plain, origin = _with_origin(prompt)
    matches = list(_WORD.finditer(plain))
    limit, best = _typos_in(name), 0
    exact: list[tuple[int, int]] = []
    alike: list[tuple[int, int]] = []
    stem = name[:STEM_LENGTH]
    for i, first in enumerate(matches):
        text = ""
        for last in matches[i:]:
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
        or _inflected_places(name, matches, origin)
        or [
            (origin[word.start()], origin[word.end() - 1] + 1)
            for word in matches
            if (_is_significant(word.group()) and word.group() in name)
            or (len(name) >= STEM_LENGTH and stem in word.group() and is_form(name, word.group()))
        ]
    )


def _inflected_places(
    name: str, matches: Sequence[re.Match[str]], origin: Sequence[int]
) -> list[tuple[int, int]]:
    """Where two or more words in a row are those of a name, with other endings."""
    places = []
    for i, first in enumerate(matches):
        for count in range(2, len(matches) - i + 1):
            run = matches[i : i + count]
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
    """From names to the ids of the edits that they bind. Ids are small integers of the caller's.

    rules: of `RULES` those by which a name is found that does not stand in a text as it is; all but in
    measurements.
    """

    def __init__(self, rules: frozenset[str] = RULES) -> None:
        self._rules = rules
        self._by_name: dict[str, set[int]] = defaultdict(set)  # joined name -> ids
        self._by_word: dict[str, set[str]] = defaultdict(set)  # long word -> joined names
        self._by_deletion: dict[str, set[str]] = defaultdict(set)  # name less a letter -> names
        self._by_longest: dict[str, dict[str, int]] = defaultdict(dict)  # longest -> {name: place}
        self._by_stem: dict[str, set[str]] = defaultdict(set)  # stem of a longest word -> words
        self._beginnings: set[str] = set()  # of joined names, all up to BEGINNING letters
        self._words: dict[str, list[str]] = {}  # joined name -> its words
        self._numerals: dict[str, list[str]] = {}  # joined name -> its Roman numerals
        self._designations: dict[
            str, frozenset[str]
        ] = {}  # joined name -> words that tell it apart
        self._scattered: dict[str, frozenset[str]] = {}  # joined name -> words it needs scattered
        self._longest = 0
        # Candidates of each word of a text, cached: most words come again in other texts.
        self._alike: dict[str, frozenset[str]] = {}
        self._inflections: dict[str, tuple[tuple[str, int], ...]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def add(self, names: Iterable[str], member: int) -> None:
        """Bind each of `names` to `member`. A name without any letter or digit is kept as it is."""
        for name in self._all_forms(names):
            parts = words(name) or [name.strip().casefold()]
            joined_name = "".join(parts)
            if joined_name not in self._words:
                self._words[joined_name] = parts
                self._numerals[joined_name] = _numerals(parts)
                self._designations[joined_name] = _designations(name)
                if "order" in self._rules and (required := _scattered_words(parts)):
                    self._scattered[joined_name] = required | self._designations[joined_name]
                self._index_for_typos(joined_name, parts)
                self._beginnings |= {joined_name[:n] for n in range(1, BEGINNING + 1)}
                self._longest = max(self._longest, len(joined_name))
                self._alike.clear()
                self._inflections.clear()
            self._by_name[joined_name].add(member)

    def remove(self, names: Iterable[str], member: int) -> None:
        """Undo `add`. A name that binds nothing any more no longer hides shorter ones."""
        for name in self._all_forms(names):
            joined_name = joined(name)
            if joined_name in self._by_name:
                self._by_name[joined_name].discard(member)
                if not self._by_name[joined_name]:
                    del self._by_name[joined_name]

    def find(self, prompt: str) -> list[tuple[str, set[int]]]:
        """The subjects in the prompt, longest first, each with its ids. [] where there is none.

        Where any is spelled exactly, only those; else those with typos; else those with other endings,
        or scattered.
        """
        tokens = words(prompt)
        exact = self._exact(tokens)
        names = exact or self._inexact(tokens)
        if not names and not tokens:
            names = [n for n in (prompt.strip().casefold(),) if n in self._by_name]
        return [(name, self._by_name[name]) for name in names]

    def _all_forms(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            yield from forms(name) if "company forms" in self._rules else (name,)

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
        names: list[str] = []
        for start, end, run in runs:
            if all(end <= a or start >= b for a, b in taken):
                taken.append((start, end))
                if run not in names:
                    names.append(run)
        return names

    def _index_for_typos(self, name: str, parts: list[str]) -> None:
        longest = max(parts, key=len)
        if len(longest) >= STEM_LENGTH and not longest.isdigit():
            self._by_stem[longest[:STEM_LENGTH]].add(longest)
            self._by_longest[longest][name] = parts.index(longest)
        if len(name) < MIN_TYPO_LENGTH:
            return
        if len(parts) == 1:
            for variant in _deletions(name):
                self._by_deletion[variant].add(name)
            return
        # With one typo at least one of any two words is intact: file under the two longest.
        for part in sorted(set(parts), key=lambda p: (-len(p), p))[:2]:
            self._by_word[part].add(name)

    def _inexact(self, tokens: Sequence[str]) -> list[str]:
        candidates: set[str] = set()
        for token in tokens:
            candidates |= self._names_like(token)
        shared = candidates = candidates & self._by_name.keys()
        if not shared:
            return self._inflected(tokens)
        places = [0, *accumulate(len(token) for token in tokens)]  # letters before each token
        if len(candidates) > MANY:
            sizes = _sizes(tokens, places, max(map(len, candidates)))
            candidates = {n for n in candidates if len(n) in sizes.get(n[0], ())}
        names = []
        if "typos" in self._rules:
            names = [n for n in candidates if self._stands_in(n, tokens, places)]
        if not names:
            names = self._inflected(tokens)
        if not names:
            token_set = set(tokens)
            names = [n for n in shared if n in self._scattered and self._scattered[n] <= token_set]
        return sorted(names, key=lambda n: (-len(n), n))

    def _names_like(self, token: str) -> frozenset[str]:
        """Names with this word among their longest, and one-word names that may be it with a typo."""
        names = self._alike.get(token)
        if names is None:
            similar = set(self._by_word.get(token, ()))
            if len(token) >= MIN_TYPO_LENGTH - 1 and self._by_deletion:
                for variant in _deletions(token):
                    similar |= self._by_deletion.get(variant, set())
            names = _cached(self._alike, token, frozenset(similar) if similar else NO_NAMES)
        return names

    def _inflected(self, tokens: Sequence[str]) -> list[str]:
        """Names whose words stand in their order, each as it is or with another ending."""
        names: dict[str, None] = {}
        if "inflections" not in self._rules:
            return []
        for i, token in enumerate(tokens):
            for name, place in self._inflections_of(token):
                parts = self._words[name]
                run = tokens[max(0, i - place) : i - place + len(parts)]
                if (
                    name in self._by_name
                    and i >= place
                    and len(run) == len(parts)
                    and all(
                        is_form(part, other, False)
                        for n, (part, other) in enumerate(zip(parts, run, strict=True))
                        if n != place
                    )
                ):
                    names[name] = None
        return sorted(names, key=lambda n: (-len(n), n))

    def _inflections_of(self, token: str) -> tuple[tuple[str, int], ...]:
        """Names whose longest word this may be a form of, and the place of that word in the name."""
        inflections = self._inflections.get(token)
        if inflections is None:
            starts = range(ENDING + 1 if _ARTICLED.match(token) else 1)
            alike = {
                longest
                for start in starts
                for longest in self._by_stem.get(token[start : start + STEM_LENGTH], ())
                if abs(len(longest) - len(token)) <= ENDING and is_form(longest, token)
            }
            pairs = tuple(pair for longest in alike for pair in self._by_longest[longest].items())
            inflections = _cached(self._inflections, token, pairs)
        return inflections

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
                if (
                    _numerals(run) == self._numerals[name]
                    and _same_but_for_typos(name, "".join(run), limit)
                    and not self._has_another_designation(name, run)
                    and not _has_another_word(self._words[name], run)
                ):
                    return True
        return False

    def _has_another_designation(self, name: str, run: Sequence[str]) -> bool:
        """Whether something else stands in the place of a designation of the name."""
        parts, short = self._words[name], self._designations[name]
        if not short:
            return False
        if len(parts) == len(run):
            return any(a != b and a in short for a, b in zip(parts, run, strict=True))
        other = "".join(run)  # "Tesla ModelX": by where the letters differ
        begin = int(Prefix.similarity(name, other))
        end = len(name) - min(int(Postfix.similarity(name, other)), len(name) - begin)
        return begin < end and any(
            part in short and last - len(part) <= begin and end <= last
            for part, last in zip(parts, accumulate(map(len, parts)), strict=True)
        )


T = TypeVar("T")


def _cached(cache: dict[str, T], key: str, value: T) -> T:
    """Put a value into a cache, which is emptied first where it is full."""
    if len(cache) >= CACHED_WORDS:
        cache.clear()
    cache[key] = value
    return value


def is_form(word: str, other: str, is_longest: bool = True) -> bool:
    """Whether two words are forms of one: alike but for a short ending, or a prefix written onto it.

    Latin words must be longer and more alike: "Niger" is no form of "Nigeria". is_longest: whether
    `word` is the name's only or longest; beside that one a short word will do, "Анны" for "Анна".
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
    least = STEM_LENGTH if is_longest or latin else SHORT_STEM_LENGTH
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
    subjects = index.find(prompt)
    return subjects[0][0] if subjects else None


def _is_significant(word: str) -> bool:
    return len(word) >= SIGNIFICANT_LENGTH or any(c.isdigit() for c in word)


def _scattered_words(parts: Sequence[str]) -> frozenset[str]:
    """The words that must all stand in a text where a name is scattered; none where it may not be."""
    significant = frozenset(word for word in parts if _is_significant(word))
    return significant if len(significant) >= SIGNIFICANT_WORDS else frozenset()


def _designations(name: str) -> frozenset[str]:
    """A name's words of one or two letters that are no particles, as `words` gives them.

    Those with a capital or a digit; of a name without capitals single letters: "vitamin b".
    """
    if not name.isascii():
        name = unicodedata.normalize("NFKD", name)
        name = "".join(c for c in name if not unicodedata.combining(c))
    lower = name == name.lower()
    return frozenset(
        word.casefold()
        for word in _WORD.findall(name)
        if len(word) <= DESIGNATION
        and (
            word != word.lower()
            or not word.isalpha()
            or (lower and len(word) == 1 and word != word.upper())
        )
    )


def is_letter(name: str) -> bool:
    """Whether a name is a single Latin letter, which stands in prompts about anything."""
    letters = joined(name)
    return len(letters) == 1 and letters.isascii() and letters.isalpha()


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


def _has_another_word(parts: Sequence[str], run: Sequence[str]) -> bool:
    return len(parts) == len(run) and any(map(are_two_words, parts, run))


def are_two_words(word: str, other: str) -> bool:
    """Whether two words that may be typos of each other are two: common words, not two spellings of one.

    "Iceland" and "Ireland", "marta" and "maria"; but not "colour" and "color", "organise" and
    "organize", "traveller" and "traveler", nor those with two letters swapped, as "centre" and "center".
    """
    if word == other or min(len(word), len(other)) < WORD_LENGTH:
        return False
    if not {word, other} <= common_words():
        return False
    return sorted(word) != sorted(other) and _one_spelling(word) != _one_spelling(other)


def _one_spelling(word: str) -> str:
    return _DOUBLED.sub(r"\1", word.replace("our", "or").replace("s", "z"))


def _deletions(word: str) -> set[str]:
    """The word and every string that lacks one of its letters: words one edit apart share one."""
    return {word} | {word[:i] + word[i + 1 :] for i in range(len(word))}
