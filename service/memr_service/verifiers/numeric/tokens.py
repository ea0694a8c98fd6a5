"""A text in plain notation as tokens, and the runs of tokens that may be one expression."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from memr_service.verifiers.numeric import words

Kind = Literal[
    "number",  # its value is known
    "scale",  # million
    "half",  # am, pm
    "unit",  # km, dollars, %
    "mark",  # says nothing: quotes, emphasis, dollar signs
    "joiner", "infix", "prefix", "postfix", "sign",  # words, see words.py
    "letter",  # x, pi, \name: something whose value is not known
    "sign_or_dash",  # a minus that may be punctuation
    "operator",  # every other sign of mathematics
    "word", "stop",  # prose and punctuation: no expression goes beyond them
]  # fmt: skip

BOX = "\ue000"
"""Stands in a text for a box whose value is known."""


@dataclass(frozen=True)
class Token:
    """A part of a text."""

    kind: Kind
    text: str
    start: int
    spaced: bool
    """Whether white space, or nothing, stands before it."""
    value: Fraction = Fraction(0)
    """Of a number or a scale."""


@dataclass(frozen=True)
class Run:
    """Tokens that no prose interrupts, and the prose on both sides."""

    tokens: list[Token]
    before: Token | None
    after: Token | None


_EXPONENT = r"(?:[eE][-+]?\d{1,3}(?![^\W_]))?"
_TOKEN = re.compile(
    rf"""
    (?P<number>
        [1-9]\d{{0,2}}(?P<group>[,'_\ \u00a0])\d{{3}}(?:(?P=group)\d{{3}})*(?!\d)(?:\.\d+)?{_EXPONENT}  # 1,234.5
      | \d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!\d)(?:\.\d+)?                                                # 12,34,567
      | \d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d)(?:,\d+)?                                                   # 1.234.567,8
      | \d{{1,3}}(?:\.\d{{3}})+,\d{{1,2}}(?!\d)                                                       # 1.234,56
      | \d+(?:\.\d+)?{_EXPONENT}
      | (?<![\w.])\.\d+{_EXPONENT}
    )
  | (?P<times>(?<=\d)[xX](?=\d)|(?<=\d\s)[xX](?=\s?\d))
  | (?P<currency>(?:{"|".join(sorted(words.CURRENCIES))})(?=[\d$€£]))
  | (?P<half>[aApP]\.?[mM](?![^\W_])\.?)
  | (?P<name>[A-Za-z]+\d\w*(?:\.\d+)*)             # x2, CO2, v1.2
  | (?P<word>[^\W\d_](?:[^\W\d_]|['’](?=[^\W\d_]))*)
  | (?P<command>\\[A-Za-z]+)
  | (?P<dots>\.{{2,}}|…)
  | (?P<equal>=>|->|==|:=|[=≈→])
  | (?P<compared><=|>=|!=|<<|>>)
  | (?P<power>\*\*|\^)
  | (?P<line>[\r\n\v\f\x85\u2028\u2029]+)
  | (?P<symbol>\S)
    """,
    re.VERBOSE,
)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>|<[|｜][^<>\n]{1,40}[|｜]>")
"""<b>, </answer>, and special tokens of a chat template."""
_OPEN, _CLOSE = "([{", ")]}"
_ENDS = re.compile(rf"[^\W_]|[)\]}}°%{BOX}]")
_ENDS_A_SENTENCE = re.compile(r"""\s*\Z|["'”*]|\s+[^-+*/^=<>),;×÷\da-z\s]""")
_BEGINS = re.compile(rf"[^\W_]|[({{\[\\√{BOX}-]|\.\d")
"""What the factors of a product may end and begin with."""


def tokens_of(text: str, box: Fraction | None = None) -> list[Token]:
    """The tokens of a text in plain notation.

    Args:
        text: the text.
        box: the value of `BOX` in it.
    """
    text = _TAG.sub(lambda found: "\n" * len(found[0]), text)
    found = [Token("stop", "", -1, True)]
    for match in _TOKEN.finditer(text):
        spaced = match.start() == 0 or text[match.start() - 1].isspace()
        if box is not None and match[0] == BOX:
            found.append(Token("number", BOX, match.start(), spaced, box))
        else:
            found.append(_token(match, text, spaced, found[-1]))
    return _without_prose_in_brackets(found[1:])


def runs(tokens: Iterable[Token]) -> Iterator[Run]:
    """The runs of tokens."""
    before: Token | None = None
    run: list[Token] = []
    for token in tokens:
        if token.kind in ("word", "stop"):
            if run:
                yield Run(run, before, token)
            before, run = token, []
        else:
            run.append(token)
    if run:
        yield Run(run, before, None)


def has_number(tokens: Iterable[Token]) -> bool:
    """Whether there is a digit in them."""
    return any(token.kind == "number" or any(map(str.isdigit, token.text)) for token in tokens)


def _token(match: re.Match[str], text: str, spaced: bool, before: Token) -> Token:
    kind, written = str(match.lastgroup), match[0]
    token = Token("operator", written, match.start(), spaced)
    after_number = before.kind in ("number", "unit", "scale") or before.text in (")", "}")
    if kind == "number":
        return replace(token, kind="number", value=_value(written))
    if kind == "times":
        return replace(token, text="×")
    if kind == "currency":
        return replace(token, kind="mark")
    if kind == "half" and before.kind == "number":
        return replace(token, kind="half", text=written.lower().replace(".", ""))
    if kind in ("word", "half"):
        return _word(token, text, before, after_number)
    if kind == "name":
        return _name(token, before)
    if kind == "command":
        return token if written == "\\frac" else replace(token, kind="mark" if written == "\\boxed" else "letter")
    if kind == "line" or written in ("<<", ">>"):
        return replace(token, kind="stop")
    if kind == "equal":
        return replace(token, text="=")
    if kind == "dots":
        return replace(token, text="…")
    if kind == "power":
        return token if written == "^" or _between(match, text) else replace(token, kind="mark")
    return _symbol(token, match, text, before) if kind == "symbol" else token


def _word(token: Token, text: str, before: Token, after_number: bool) -> Token:
    word, long = token.text, token.text.lower()
    attached = after_number and not token.spaced
    following = text[token.start + len(word) :]
    kind: Kind = "word"
    if after_number and (factor := words.scale_of(word, attached)) is not None:
        return replace(token, kind="scale", value=factor)
    if attached and long in words.ORDINALS:
        kind = "unit"
    elif long in words.NEGATIVE:
        difference = long == "minus" and before.kind == "word" and before.text.lower() not in words.COPULAS
        kind = "infix" if difference else "sign"
    elif long in words.JOINERS and not attached and following[:1] not in ("^", "²"):
        kind = "joiner"
    elif long in words.INFIX:
        kind = "infix"
    elif long in words.PREFIX:
        kind = "prefix"
    elif long in words.POSTFIX:
        kind = "postfix"
    elif word in words.CURRENCIES:
        kind = "mark"
    elif words.unit_of(word) is not None and (after_number or before.kind in ("unit", "operator", "mark")):
        kind = "unit"
    elif long in words.SYMBOLS or _is_variable(word, attached, following):
        kind = "letter"
    return replace(token, kind=kind)


def _is_variable(word: str, attached: bool, following: str) -> bool:
    """Whether a word is a product of letters and not prose."""
    if not word.isascii():
        return all("GREEK" in unicodedata.name(letter, "") for letter in word)
    if len(word) == 1:
        return attached or word not in words.ARTICLES or not following[:1].isspace()
    return len(word) == 2 and attached


def _name(token: Token, before: Token) -> Token:
    """Letters followed by digits: a unit (cm2), a factor and a number (x10), a name (CO2) or a variable (x2)."""
    letters = token.text.rstrip("0123456789")
    is_unit = letters in words.UNITS and letters.islower() and token.text[len(letters) :] in ("2", "3")
    inches = letters in words.FEET and before.kind == "number" and not token.spaced  # 5ft3 may be 5 ft 3 in
    if is_unit and not inches and before.kind in ("number", "unit", "operator"):
        return replace(token, kind="unit")
    return replace(token, kind="word" if letters[:1].isupper() and token.spaced else "letter")


def _symbol(token: Token, match: re.Match[str], text: str, before: Token) -> Token:
    sign = token.text
    following = text[match.end() : match.end() + 40]
    kind: Kind = "stop"
    if sign in "-–—":
        return _dash(token, following, before)
    if sign in "*_":
        if sign == "*":
            token = replace(token, text="×")
        kind = "operator" if _between(match, text) else "mark"
    elif sign == "!":
        following = following.lstrip("!")
        ends_a_sentence = _ENDS_A_SENTENCE.match(following) and before.text not in (")", "}")
        kind = "stop" if ends_a_sentence else "operator"
    elif sign == ":":
        attached = not token.spaced and following[:1].isdigit()
        ratio = token.spaced and following[:1].isspace() and following.lstrip()[:1].isdigit()
        kind = "operator" if before.kind == "number" and (attached or ratio) else "stop"
    elif sign in "'\"′″":
        kind = "operator" if before.kind == "number" and re.match(r"\s?\d", following) else "mark"
    elif sign in "‰‱":
        kind = "postfix"
    elif sign in "%°":
        kind = "unit"
    elif sign == ".":
        kind = "operator" if following[:1].isdigit() and before.kind in ("number", "operator") else "stop"
    elif sign in "`~“”‘’«»\\" or unicodedata.category(sign) == "Sc":
        kind = "mark"
    elif sign in "+/,;|{}()[]&×÷±√⌊⌋⌈⌉⟨⟩" or unicodedata.category(sign) in ("Sm", "Mn"):
        kind = "operator"
    return replace(token, kind=kind)


def _dash(token: Token, following: str, before: Token) -> Token:
    """A minus, a hyphen, or a dash between two parts of a sentence."""
    spaced_after = following[:1].isspace() or not following
    after_word = before.kind == "word" and before.text.lower() not in words.COPULAS
    if token.text == "—" and not (before.kind == "number" and following[:1].isdigit()):
        return replace(token, kind="stop")
    if token.text == "–" and (spaced_after or (after_word and not token.spaced)):
        return replace(token, kind="stop")
    if not token.spaced and re.match(r"[a-z]{3}|[ckm]m\b|kg\b|ft\b", following):
        return replace(token, kind="mark" if before.kind in ("number", "unit") else "stop")  # 18-year-old
    ambiguous = after_word and (spaced_after or not token.spaced)  # total - 18, covid-19
    return replace(token, kind="sign_or_dash" if ambiguous else "operator", text="-")


def _between(match: re.Match[str], text: str) -> bool:
    """Whether a star stands between two things, like a product's, and is no emphasis and no bullet."""
    left, right = text[: match.start()][-1:], text[match.end() :][:2]
    if left.isspace() and right[:1].isspace():
        return text[: match.start()].rpartition("\n")[2].strip() != ""
    return bool(_ENDS.match(left) and _BEGINS.match(right))


def _value(written: str) -> Fraction:
    whole = re.sub(r"[,'_\s]", "", written)
    if re.fullmatch(r"\d{1,3}(\.\d{3}){2,}(,\d+)?|\d{1,3}(\.\d{3})+,\d{1,2}", written):
        whole = written.replace(".", "").replace(",", ".")
    return Fraction(whole)


def _without_prose_in_brackets(tokens: list[Token]) -> list[Token]:
    """The tokens, with brackets as punctuation if they enclose prose, only name a choice, or have no pair.

    Prose in an argument of a fraction, root, power or index is something whose value is not known.
    """
    result = list(tokens)
    opened: list[int] = []
    ends_of_numerators = set()
    for place, token in enumerate(tokens):
        if token.kind != "operator" or token.text not in _OPEN + _CLOSE:
            continue
        if token.text in _OPEN:
            opened.append(place)
            continue
        if not opened:
            result[place] = replace(token, kind="stop")
            continue
        start = opened.pop()
        inside = range(start + 1, place)
        previous = tokens[start - 1].text if start else ""
        if previous == "\\frac":
            ends_of_numerators.add(place)
        if previous in ("\\frac", "^", "_", "√") or start - 1 in ends_of_numerators:
            for one in inside:
                if result[one].kind in ("word", "stop"):
                    result[one] = replace(result[one], kind="letter")
        elif any(result[one].kind in ("word", "stop") for one in inside) or _is_choice(tokens, start, place):
            result[start], result[place] = (replace(tokens[end], kind="stop") for end in (start, place))
    for place in opened:
        result[place] = replace(tokens[place], kind="stop")
    return result


def _is_choice(tokens: list[Token], start: int, end: int) -> bool:
    """Whether a bracket holds the letter of a choice: (B) 18."""
    return end - start == 2 and tokens[start + 1].kind == "letter" and tokens[start].spaced and tokens[end].text == ")"
