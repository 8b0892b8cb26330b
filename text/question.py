"""When two texts ask one question: the rule that ledger and engine share.

    "¿Quién  dirige Norvik？"
      width and form   full- and half-width letters, ligatures, Arabic letter forms, Roman numeral
                       signs (NFKC); not what means something else: x², ½, ①, ℝ stay what they are
      case             full case folding (ß = ss, ς = σ), and dotted and dotless i are one letter
      signs            typographic quotes, apostrophes and dashes are the plain ones
      unseen           zero-width and direction characters, soft hyphens, emoji variants are left out
      white space      any run of it, no-break and ideographic included, is one blank; beside a
                       letter of a script that writes no spaces it is none
      ends             opening ¿ and ¡, closing punctuation of any script, and quotes or brackets
                       around the whole are left out
    "quién dirige norvik"

The result is for comparing and hashing only. It is the same for all inputs that ask alike, and its own
normal form. A change of this rule needs a migration of the ledger, which stores hashes of results.
"""

from __future__ import annotations

import re
import unicodedata

# Unicode's Terminal_Punctuation (version 16), what NFKC turns into others of it left out.
_TERMINAL = (
    "!,.:;?։׃،؛؝؞؟۔܀܁܂܃܄܅܆܇܈܉܊܌߸߹࠰࠱࠲࠳࠴࠵࠷࠸࠹࠺࠻࠼࠽࠾࡞।॥๚๛༈།༎༏༐༑༒၊။፡።፣፤፥፦፧፨᙮᛫᛬᛭᜵᜶។៕៖៚᠂᠃᠄᠅᠈᠉᥄᥅"
    "᪨᪩᪪᪫᭎᭏᭚᭛᭝᭞᭟᭽᭾᭿᰻᰼᰽᰾᰿᱾᱿‽⳹⳺⳻⸮⸼⹁⹌⹎⹏⹓⹔⹠⹡、。꓾꓿꘍꘎꘏꛳꛴꛵꛶꛷꡶꡷꣎꣏꤯꧇꧈꧉꩝꩞꩟꫟꫰꫱꯫"
    "𐎟𐏐𐡗𐤟𐩖𐩗𐫰𐫱𐫲𐫳𐫴𐫵𐬺𐬻𐬼𐬽𐬾𐬿𐮙𐮚𐮛𐮜𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈𑁉𑁊𑁋𑁌𑁍𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈺𑈻𑈼𑊩𑏔𑏕𑑋𑑌𑑍𑑚𑑛"
    "𑗂𑗃𑗄𑗅𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄𑥆𑩂𑩃𑪛𑪜𑪡𑪢𑱁𑱂𑱃𑱱𑻷𑻸𑽃𑽄𒑰𒑱𒑲𒑳𒑴𖩮𖩯𖫵𖬷𖬸𖬹𖭄𖵮𖵯𖺗𖺘𛲟𝪇𝪈𝪉𝪊"
)
ASCII_END = " !,.:;?"
# Printable ASCII that begins with no quote, bracket or blank and has no two blanks in a row: all that
# `normalize_question` does to it is to take small letters and to leave out ASCII_END at its end.
PLAIN = r"^[!#-&)-Z\\-z|-~](?: ?[!-~])* ?$"
_END = " " + _TERMINAL
_BEGIN = " ¿¡⸘"
_PAIRS = dict(zip("\"'([{‹〈《「『【〔〖〘〚⸤", "\"')]}›〉》」』】〕〗〙〛⸥", strict=True))
_SAFE_FORMS = tuple(
    "<noBreak> <compat> <wide> <narrow> <vertical> <square> <small> <isolated> <initial> <medial> "
    "<final>".split()
)
_PLAIN = dict.fromkeys(map(ord, "‘’‚‛ʼʹ´＇"), "'") | dict.fromkeys(map(ord, "“”„‟«»＂"), '"')
_PLAIN |= dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-")
_UNSEEN = re.compile(  # Armenian writes its question mark within the word
    "[\u00ad\u034f\u055b\u055c\u055e\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0]"
)
_SPACELESS = (  # Thai, Lao, Burmese, Khmer, kana, Han
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
)
_NO_SPACE = re.compile(f"(?<=[{_SPACELESS}]) +| +(?=[{_SPACELESS}])")


def normalize_question(text: str) -> str:
    """What a text asks, in the form in which questions are compared; "" where it asks nothing.

    A text that is nothing but punctuation stays itself, so that "?" and "!" are two questions.
    """
    if text.isascii():
        folded = text.lower()
        if "  " in folded or not folded.isprintable():
            folded = " ".join(folded.split())
        return _without_ends(folded.strip(), ASCII_END) or folded.strip()
    folded = " ".join(_folded(text).split())
    folded = _NO_SPACE.sub("", folded)
    return _without_ends(folded, _END) or folded


def _folded(text: str) -> str:
    """Width, form, case and signs made one."""
    text = unicodedata.normalize("NFC", text.translate(_FORMS)).casefold()
    text = unicodedata.normalize("NFC", text.translate(_FORMS))
    text = text.replace("i\u0307", "i").replace("ı", "i").translate(_PLAIN)
    return _UNSEEN.sub("", text)


class _SafeForms(dict[int, str]):
    """NFKC of single characters, where it does not change what they mean; filled as they come."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if unicodedata.decomposition(char).startswith(_SAFE_FORMS):
            char = unicodedata.normalize("NFKC", char)
        self[code] = char
        return char


_FORMS = _SafeForms()


def _without_ends(text: str, end: str) -> str:
    """Leave out what opens, closes or encloses the whole, as often as there is something."""
    while True:
        text = text.strip() if text[-1:] not in end else text.rstrip(end)
        first = text[:1]
        if first and first in _BEGIN:
            text = text.lstrip(_BEGIN)
            continue
        if first in _PAIRS and text[-1] == _PAIRS[first] and len(text) > 2:
            inner = text[1:-1]
            if first not in inner and text[-1] not in inner:
                text = inner
                continue
        return text
