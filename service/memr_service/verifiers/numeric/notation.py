"""One plain notation for numbers, whatever they are typeset in: LaTeX and Unicode become a few characters.

Signs of operators become single characters (`×`, `÷`, `±`, `√`, `π`), powers `^{n}`, indices `_{n}`, fractions
`\\frac{a}{b}` or `a/b`. Commands without a number's meaning disappear; unknown ones stay as they are.
"""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "times": "×", "cdot": "×", "ast": "×", "div": "÷", "pm": "±", "mp": "∓", "circ": "°", "degree": "°",
    "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "lt": "<", "gt": ">",
    "ne": "≠", "neq": "≠", "approx": "≈", "simeq": "≈", "to": "→", "rightarrow": "→", "Rightarrow": "→",
    "implies": "→", "Longrightarrow": "→", "pi": "π", "infty": "∞", "ldots": "…", "dots": "…", "cdots": "…",
    "sqrt": "√", "colon": ":", "percent": "%", "textdollar": "$", "dollar": "$", "euro": "€", "pounds": "£",
    "textendash": "–", "textemdash": "—",
}  # fmt: skip
_NOTHING = frozenset((
    "left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "textstyle", "bf", "rm", "it",
    "boldmath", "limits", "nolimits",
))  # fmt: skip
_SPACES = frozenset((
    "quad", "qquad", "thinspace", "enspace", "space", "nobreakspace", "hspace", "vspace", "newline", "par",
))  # fmt: skip
_ESCAPES = {"!": "", "(": "$", ")": "$", "[": "$", "]": "$", "\\": "\n"} | dict.fromkeys(",;:> ~", " ")

_TEXT = re.compile(
    r"\\(?:text[a-z]*|math[a-z]+|[mhf]box|operatorname|boldsymbol|bm|underline|emph|small|large)\*?\s*\{([^{}]*)\}"
)
_LINES = re.compile(r"\\(?:begin|end)\{(?:align|aligned|equation|gather|split|center)\*?\}")
_COMMAND = re.compile(r"\\(?:([A-Za-z]+)|(.))", re.DOTALL)
_FRACTION = re.compile(r"\\[dtc]?frac(?![A-Za-z])\s*")
_BARE_NUMERATOR = re.compile(r"\\frac(\d)\s*")
_BARE_DENOMINATOR = re.compile(r"(\\frac\{[^{}]*\})\s*(\d)")
_DEGREES = re.compile(r"\^\s*(?:\{\s*°\s*\}|°)")

_RAISED = re.compile("[⁰¹²³⁴-⁻]+")
_LOWERED = re.compile("[₀-₎]+")
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad]")
_CHARACTERS = str.maketrans(
    dict.fromkeys("\u2212\u2010\u2011\u2012\ufe63\uff0d", "-")
    | dict.fromkeys("✕✖⨯·⋅∙", "×")
    | {"∕": "/", "⁄": "/", "∶": ":", "٬": ",", "٫": ".", "⇒": "→", "⟹": "→", "’": "'", "º": "°", "˚": "°"}
)

_NUMBER_WORDS = {
    "a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
}  # fmt: skip
_PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10,
}  # fmt: skip
_AND_A_HALF = re.compile(
    rf"(?<=\d)\s+and\s+({'|'.join(_NUMBER_WORDS)})[\s-]({'|'.join(_PARTS)}|halve)s?\b", re.IGNORECASE
)

_SPELLED = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_MULTIPLES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_ONE_WORD = rf"(?:{'|'.join((*_SPELLED, *_MULTIPLES))})"
_SPELLED_BEFORE_DIGITS = re.compile(
    rf"(?<![\w-])(?P<words>{_ONE_WORD}(?:(?:[ -]|(?:{'|'.join(f'(?<={one})' for one in _MULTIPLES)})[ ]and[ ])"
    rf"{_ONE_WORD}\b)*)[ ]+(?P<and>and[ ]+)?(?=\d+(?P<part>[ ]*/[ ]*\d)?)",
    re.IGNORECASE,
)
_UNKNOWN = "θ"
"""A variable: an expression with it has no value."""
_CHINESE_SCALES = re.compile("(?<=\\d)\\s*([十百千万萬亿億]+)(?![克米瓦分])")
_RAISED_BY_TAG = re.compile(r"<(sup|sub)>([^<>]{0,40})</\1>", re.IGNORECASE)

_AND_A_PART = re.compile(r"(?<=\d)\s+and\s+(?=\d+\s*/\s*\d)")
_CURRENCY_M = re.compile(r"([$€£]\s?\d[\d.,]*)m\b")


def plain(text: str) -> str:
    """The text in plain notation."""
    text = _INVISIBLE.sub("", text).replace("{,}", ",").replace("&=", "=")
    text = _RAISED_BY_TAG.sub(lambda found: f"{'^' if found[1].lower() == 'sup' else '_'}{{{found[2]}}}", text)
    text = _RAISED.sub(lambda found: f"^{{{_folded(found[0])}}}", text)
    text = _LOWERED.sub(lambda found: f"_{{{_folded(found[0])}}}", text)
    text = _VULGAR.sub(lambda found: f" {_folded(found[0])}", text)
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    text = _without_latex(text) if "\\" in text else text
    text = _CHINESE_SCALES.sub(lambda found: f" {' '.join(found[1])} ", text)
    text = _SPELLED_BEFORE_DIGITS.sub(_before_digits, text)
    return _CURRENCY_M.sub(r"\1 million", _AND_A_PART.sub(" ", _AND_A_HALF.sub(_mixed, text)))


def _folded(characters: str) -> str:
    return unicodedata.normalize("NFKC", characters).translate(_CHARACTERS)


def _without_latex(text: str) -> str:
    text = _LINES.sub("\n", text)
    replaced = 1
    while replaced:  # from the inside to the outside
        text, replaced = _TEXT.subn(r" \1 ", text)
    text = _COMMAND.sub(_sign, _FRACTION.sub(r"\\frac", text))
    text = _BARE_DENOMINATOR.sub(r"\1{\2}", _BARE_NUMERATOR.sub(r"\\frac{\1}", text))
    return _DEGREES.sub("°", text)


def _sign(found: re.Match[str]) -> str:
    name, escaped = found[1], found[2]
    if escaped is not None:
        return _ESCAPES.get(escaped, escaped)
    if name in _NOTHING:
        return ""
    return " " if name in _SPACES else _SIGNS.get(name, found[0])


def _before_digits(found: re.Match[str]) -> str:
    """`two and 1/2` as `2 1/2`; `twenty 5` and `two hundred and 5` as something whose value is not known."""
    written = re.split(r"[ -]+(?:and )?", found["words"].lower())
    if found["and"] and found["part"]:
        return f"{_spelled(written)} "
    joins = written[-1] in _MULTIPLES or _SPELLED[written[-1]] >= _SPELLED["twenty"]
    return f"{_UNKNOWN} " if joins else found[0]


def _spelled(written: list[str]) -> int:
    """The number that English words say: two hundred five is 205."""
    total = below = 0
    for word in written:
        if word == "hundred":
            below = max(below, 1) * 100
        elif word in _MULTIPLES:
            total, below = total + max(below, 1) * _MULTIPLES[word], 0
        else:
            below += _SPELLED[word]
    return total + below


def _mixed(found: re.Match[str]) -> str:
    """`3 and a half` as `3 1/2`."""
    parts = "half" if found[2].lower() == "halve" else found[2].lower()
    return f" {_NUMBER_WORDS[found[1].lower()]}/{_PARTS[parts]}"
