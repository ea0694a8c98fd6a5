"""The value of an expression: one number, or a time of day or ratio; None for every other expression.

value    = [sign] quantity { ":" integer } [scale] [half of the day] { unit }
quantity = integer power "/" power | integer \\frac | power ["/" power | "×" 10 "^" exponent]
power    = base ["^" exponent]
base     = number | \\frac{value}{value} | "√" base | "(" value ")"
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from memr_service.verifiers.numeric.tokens import Run, Token, has_number
from memr_service.verifiers.numeric.words import unit_of

DEEPEST = 50
"""Brackets, fractions and roots in each other."""
LONGEST_POWER = 13_000
"""Bits of a power. Larger ones are not computed."""


@dataclass(frozen=True)
class Value:
    """What an expression says."""

    parts: tuple[Fraction, ...]
    """One number; or the parts of a time of day or a ratio (3:30)."""
    half: str = ""
    """`am` or `pm`, if it says so."""

    def is_same(self, other: Value) -> bool:
        """Whether both say the same. A time without its half of the day may mean either, or 24 hours."""
        if not self.half and not other.half:
            return self.parts == other.parts
        if self.half and other.half:
            return self._on_24_hours == other._on_24_hours
        bare, timed = (self, other) if other.half else (other, self)
        return _without_zeros(bare.parts) in (_without_zeros(timed.parts), timed._on_24_hours)

    def __str__(self) -> str:
        """The value in one notation: 42, 1/2, 3:30, 3:30 pm."""
        return ":".join(map(str, self.parts)) + (f" {self.half}" if self.half else "")

    @property
    def _on_24_hours(self) -> tuple[Fraction, ...]:
        hour, *smaller = self.parts
        return _without_zeros((hour % 12 + (12 if self.half == "pm" else 0), *smaller))


def _without_zeros(parts: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """5:00 is 5."""
    while len(parts) > 1 and parts[-1] == 0:
        parts = parts[:-1]
    return parts


class _Unknown(Exception):
    """The expression is none of those that have a value."""


def read(run: Run, chosen: Token | None = None) -> Value | None:
    """The value of a run of tokens; None if the run is no single number.

    Args:
        run: tokens that no prose interrupts.
        chosen: a token of the run. Of several sides of an equation or members of a list its own is read. Default: the
            last side, and no list has a value.
    """
    try:
        tokens = _trimmed([token for token in run.tokens if token.kind != "mark"], run.after)
        side = _side(_member(tokens, chosen), chosen)
        reader = _Reader(side)
        value = reader.value()
        reader.end()
    except _Unknown:
        return None
    return value


def _trimmed(tokens: list[Token], after: Token | None) -> list[Token]:
    """Without what says nothing at the ends of a run."""
    start, end = 0, len(tokens)
    while start < end and (
        tokens[start].kind in ("joiner", "postfix", "unit")
        or tokens[start].text in ",;…&"
        or _is_rule(tokens[start], tokens[start + 1 : start + 2])
    ):
        start += 1
    while start < end and _says_nothing(tokens[end - 1], after):
        end -= 1
    return tokens[start:end]


def _says_nothing(last: Token, after: Token | None) -> bool:
    """Whether the last token of a run is not part of its expression."""
    if last.text == "/":
        return after is not None and after.kind == "word" and not last.spaced and not after.spaced  # 5/apple
    return last.kind in ("joiner", "infix", "prefix") or last.text in (",", ";", "&", "=") or _is_rule(last, [last])


def _is_rule(token: Token, inner: Sequence[Token]) -> bool:
    """Whether it is the border of a table's cell, and not half of an absolute value."""
    return token.text == "|" and all(one.spaced for one in inner)


def _member(tokens: list[Token], chosen: Token | None) -> list[Token]:
    """The member of a list that is meant: the only one, the chosen one, or the last of several statements."""
    members: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text in "([{") - (token.text in ")]}") if token.kind == "operator" else 0
        joins = token.text in (",", ";") or (token.kind == "joiner" and token.text.lower() in ("and", "or"))
        if joins and depth == 0:
            members.append([])
        else:
            members[-1].append(token)
    with_numbers = [member for member in members if has_number(member)]
    if not with_numbers:
        raise _Unknown
    if len(with_numbers) == 1 and len(members) == 1:
        return members[0]
    if chosen is not None:
        return next(member for member in members if chosen in member)
    if len(with_numbers) == 1 and not any(token.kind == "letter" for token in tokens):
        return with_numbers[0]
    if all(map(_is_statement, with_numbers)) or _measure_different_things(with_numbers):
        return with_numbers[-1]
    raise _Unknown


def _is_statement(member: list[Token]) -> bool:
    """Whether it is a computation with its result: 3 + 2 = 5."""
    return any(token.text == "=" for token in member) and all(token.kind != "letter" for token in member)


def _measure_different_things(members: list[list[Token]]) -> bool:
    """5 minutes and 18 meters are two quantities, 5 minutes and 18 seconds are one."""
    kinds = [unit_of(member[-1].text) if member[-1].kind == "unit" else None for member in members]
    return None not in kinds and len(set(kinds)) == len(kinds)


def _side(member: list[Token], chosen: Token | None) -> list[Token]:
    """The side of an equation that is meant: the chosen one, or the last with a number."""
    sides: list[list[Token]] = [[]]
    for token in member:
        if token.text == "=" and token.kind == "operator":
            sides.append([])
        else:
            sides[-1].append(token)
    if chosen is not None:
        return next(side for side in sides if chosen in side)
    return [side for side in sides if has_number(side)][-1]


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def value(self) -> Value:
        """A number with what may follow it."""
        negative = self._sign()
        parts = [self._quantity()]
        while parts[-1].denominator == 1 and self._take(":"):
            parts.append(self._kind("number"))
        while (scale := self._peek()) is not None and scale.kind == "scale":
            self._place += 1
            parts[-1] *= scale.value
        half = self._text("half") if self._is("half") else ""
        self._units()
        return Value((-parts[0] if negative else parts[0], *parts[1:]), half)

    def end(self) -> None:
        """Nothing may be left but dots, which after 0.333 stand for more digits, and elsewhere end a sentence."""
        if self._place and "." not in self._tokens[self._place - 1].text:
            self._take("…")
        if self._place < len(self._tokens):
            raise _Unknown

    def _sign(self) -> bool:
        if self._is("sign"):
            self._place += 1
            return True
        if (first := self._peek()) is not None and first.kind == "operator" and first.text in ("-", "+"):
            self._place += 1
            return first.text == "-"
        return False

    def _quantity(self) -> Fraction:
        first = self._peek()
        amount = self._power()
        whole = first is not None and first.kind == "number" and self._tokens[self._place - 1] is first
        if whole and amount.denominator == 1 and (part := self._part()) is not None:
            return amount + part
        if self._at("/") and self._begins_a_base(1):
            self._place += 1
            return self._ratio(amount, self._power())
        if self._at("×") and self._begins_a_base(1):
            self._place += 1
            ten = self._kind("number")
            if ten != 10 or not self._at("^"):
                raise _Unknown
            return amount * self._raised(ten)
        return amount

    def _part(self) -> Fraction | None:
        """The fraction of a mixed number; None if none follows."""
        if self._is("number") and self._at("/", 1):
            above = self._kind("number")
            self._place += 1
            part = self._ratio(above, self._kind("number"))
        elif self._at("\\frac"):
            part = self._base()
        else:
            return None
        if not 0 < part < 1:
            raise _Unknown
        return part

    def _power(self) -> Fraction:
        base = self._base()
        return self._raised(base) if self._at("^") or self._at("**") else base

    def _raised(self, base: Fraction) -> Fraction:
        self._place += 1
        bracketed = self._at("{") or self._at("(")
        exponent = self._base() if bracketed else (-1 if self._sign() else 1) * self._kind("number")
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if exponent.denominator != 1 or abs(exponent) * size > LONGEST_POWER or (base == 0 and exponent <= 0):
            raise _Unknown
        return Fraction(base ** int(exponent))

    def _base(self) -> Fraction:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Unknown
        base = self._any_base()
        self._depth -= 1
        return base

    def _any_base(self) -> Fraction:
        if self._take("\\frac"):
            return self._ratio(self._bracketed(), self._bracketed())
        if self._take("√") or self._root_by_name():
            return _root(self._base())
        if any(self._at(bracket) for bracket in "([{"):
            return self._bracketed()
        return self._kind("number")

    def _root_by_name(self) -> bool:
        named = self._is("prefix") and self._tokens[self._place].text == "sqrt" and self._at("(", 1)
        self._place += named
        return named

    def _bracketed(self) -> Fraction:
        opened = self._peek()
        if opened is None or opened.kind != "operator" or opened.text not in "([{":
            raise _Unknown
        self._place += 1
        inside = self.value()
        if len(inside.parts) > 1 or inside.half or not self._take(")]}"["([{".index(opened.text)]):
            raise _Unknown
        return inside.parts[0]

    def _units(self) -> None:
        start = self._place
        while True:
            of_unit = self._place > start
            if self._is("unit"):
                self._place += 1
            elif of_unit and (self._at("^") or self._at("**")):
                self._raised(Fraction(1))
            elif self._is("unit", 1) and (self._at("/") or self._at("×")) and (of_unit or self._is_long(1)):
                self._place += 2
            elif self._is("unit", 1) and any(self._at(bracket) for bracket in "([{"):
                self._place += 3
                if not any(self._tokens[self._place - 1].text == bracket for bracket in ")]}"):
                    raise _Unknown
            else:
                return

    def _is_long(self, ahead: int) -> bool:
        return len(self._tokens[self._place + ahead].text) > 1

    @staticmethod
    def _ratio(above: Fraction, below: Fraction) -> Fraction:
        if below == 0:
            raise _Unknown
        return above / below

    def _begins_a_base(self, ahead: int) -> bool:
        token = self._peek(ahead)
        return token is not None and (token.kind == "number" or token.text in ("\\frac", "√", "(", "[", "{"))

    def _peek(self, ahead: int = 0) -> Token | None:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def _is(self, kind: str, ahead: int = 0) -> bool:
        token = self._peek(ahead)
        return token is not None and token.kind == kind

    def _at(self, sign: str, ahead: int = 0) -> bool:
        token = self._peek(ahead)
        return token is not None and token.kind == "operator" and token.text == sign

    def _take(self, sign: str) -> bool:
        taken = self._at(sign)
        self._place += taken
        return taken

    def _kind(self, kind: str) -> Fraction:
        token = self._peek()
        if token is None or token.kind != kind:
            raise _Unknown
        self._place += 1
        return token.value

    def _text(self, kind: str) -> str:
        self._place += 1
        return self._tokens[self._place - 1].text


def _root(square: Fraction) -> Fraction:
    """The square root, if it is a fraction."""
    if square < 0:
        raise _Unknown
    root = Fraction(math.isqrt(square.numerator), math.isqrt(square.denominator))
    if root * root != square:
        raise _Unknown
    return root
