"""Words and signs that change what the number beside them says, and those that do not."""

from __future__ import annotations

from fractions import Fraction

SCALES: dict[str, int | Fraction] = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "hundreds": 100, "thousands": 10**3, "millions": 10**6, "billions": 10**9, "trillions": 10**12,
    "dozen": 12, "dozens": 12, "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7,
    "thirds": Fraction(1, 3), "fifths": Fraction(1, 5), "sixths": Fraction(1, 6), "sevenths": Fraction(1, 7),
    "eighths": Fraction(1, 8), "ninths": Fraction(1, 9), "tenth": Fraction(1, 10), "tenths": Fraction(1, 10),
    "hundredth": Fraction(1, 100), "hundredths": Fraction(1, 100), "thousandth": Fraction(1, 1000),
    "thousandths": Fraction(1, 1000), "k": 10**3, "K": 10**3, "M": 10**6, "mn": 10**6, "B": 10**9, "bn": 10**9,
    "十": 10, "百": 100, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8,
}  # fmt: skip
"""Words that multiply the number before them. Those of one or two letters do so only without a space (5k)."""

JOINERS = frozenset(("and", "or", "to", "of", "in", "per", "by", "over", "out", "through", "from", "versus", "vs"))
"""Between two numbers they make one expression of them; before or after a number they say nothing."""
INFIX = frozenset(("plus", "times", "divided", "multiplied", "mod", "modulo", "choose"))
"""They need a number on both sides; with none before they are not the beginning of a number."""
PREFIX = frozenset((
    "half", "third", "quarter", "twice", "double", "triple", "thrice", "root", "sqrt", "log", "ln", "sin", "cos",
    "tan", "exp", "gcd", "lcm", "abs", "mod",
))  # fmt: skip
"""They change the number after them."""
POSTFIX = frozenset(("squared", "cubed", "factorial", "score"))
"""They change the number before them."""
NEGATIVE = frozenset(("minus", "negative"))
"""Before a number they are its sign."""
COPULAS = frozenset(("is", "are", "was", "were", "be", "equals", "equal", "gives", "get", "gets", "becomes", "makes"))
"""After them a dash with spaces around it is a sign and not punctuation."""
ARTICLES = frozenset(("a", "A", "I"))
SYMBOLS = frozenset(("pi", "theta", "tau", "phi", "alpha", "beta", "lambda"))
"""Letters of mathematics by their names."""
ORDINALS = frozenset(("st", "nd", "rd", "th"))

FEET = frozenset(("ft", "feet", "foot"))
"""A number joined to them may be of inches (5ft3)."""

_UNITS = {
    "length": "mm cm dm m km nm μm µm in ft yd mi millimeter millimetre centimeter centimetre decimeter meter metre "
    "kilometer kilometre inch inches foot feet yard mile unit block",
    "mass": "mg g kg t lb lbs oz milligram gram kilogram ton tonne pound ounce stone",
    "time": "ms s sec secs min mins h hr hrs second minute hour day week month year",
    "volume": "ml mL l L cl dl gal qt pt liter litre milliliter millilitre gallon quart pint cup tablespoon teaspoon",
    "money": "dollar cent euro pence penny pennies peso rupee yen yuan",
    "angle": "deg rad degree radian",
    "other": "Hz W kW V A N J K C F Pa mol mph kph kmh bps kcal cal percent pct square cubic sq cu",
}
UNITS = {unit: kind for kind, units in _UNITS.items() for unit in units.split()}
"""Unit -> what it measures. Units of one kind next to each other are one quantity: 2 hours 30 minutes."""

CURRENCIES = frozenset((
    "USD", "EUR", "GBP", "JPY", "CNY", "INR", "CAD", "AUD", "NZD", "HKD", "SGD", "CHF", "MXN", "BRL", "PHP", "RMB",
    "Rs", "RM", "US",
))  # fmt: skip
"""Letters before or after an amount of money."""


def unit_of(word: str) -> str | None:
    """What a word measures, None if it is no unit. Units of one or two letters are as they are written."""
    if word in UNITS:
        return UNITS[word]
    long = word.lower()
    if len(long) < 3:
        return None
    return UNITS.get(long, UNITS.get(long.removesuffix("s")))


def scale_of(word: str, attached: bool) -> Fraction | None:
    """The factor of a word after a number, None if it has none."""
    factor = SCALES.get(word) or SCALES.get(word.lower() if len(word) > 2 else "")
    short = len(word) < 3 and word.isascii()
    return None if factor is None or (short and not attached) else Fraction(factor)
