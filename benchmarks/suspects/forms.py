"""The same answer in other forms, and which verifiers hold it equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from memr_service.verifiers import VERIFIERS

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = {10**6: "million", 1000: "thousand", 100: "hundred"}

FORMS: Mapping[str, Callable[[int], str]] = {
    "1000": str,
    "1,000": lambda number: f"{number:,}",
    "1 000": lambda number: f"{number:,}".replace(",", " "),
    "$1000": lambda number: f"${number}",
    "1000.00": lambda number: f"{number}.00",
    "$1,000.00": lambda number: f"${number:,}.00",
    "1000 dollars": lambda number: f"{number} dollars",
    "**1000**": lambda number: f"**{number}**",
    "The answer is 1000.": lambda number: f"The answer is {number}.",
    r"\boxed{1000}": lambda number: rf"\boxed{{{number}}}",
    r"\boxed{1{,}000}": lambda number: rf"\boxed{{{f'{number:,}'.replace(',', '{,}')}}}",
    r"$\frac{2000}{2}$": lambda number: rf"$\frac{{{2 * number}}}{{2}}$",
    "1.0e3": lambda number: f"{number:.{max(len(str(abs(number))) - 1, 1)}e}".replace("e+0", "e").replace("e+", "e"),
    "１０００": lambda number: str(number).translate({48 + digit: 0xFF10 + digit for digit in range(10)}),
    "one thousand": lambda number: spelled(number),
}
"""Ways to write a whole number, named by how they write 1000."""


def spelled(number: int) -> str:
    """A number in words: one thousand two hundred thirty-four."""
    if number < 0:
        return f"minus {spelled(-number)}"
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")
    scale, name = next((scale, name) for scale, name in SCALES.items() if number >= scale)
    return f"{spelled(number // scale)} {name}" + (f" {spelled(number % scale)}" if number % scale else "")


def accepted(pairs: Sequence[tuple[int, int]]) -> dict[str, dict[str, float]]:
    """Form -> verifier, or "any" of them -> share of pairs (answer, reference) whose answer is right in that form."""
    shares = {}
    for name, form in FORMS.items():
        verdicts = [{one: judge(form(said), str(right)) for one, judge in VERIFIERS.items()} for said, right in pairs]
        columns = {one: [verdict[one] for verdict in verdicts] for one in VERIFIERS}
        columns["any"] = [max(verdict.values()) for verdict in verdicts]
        shares[name] = {one: sum(values) / len(pairs) for one, values in columns.items()}
    return shares
