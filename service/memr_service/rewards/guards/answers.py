"""Whether a completion is a short answer: the measure by which short answers are told from refusals and noise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from memr_service.rewards.guards.overlap import says_nothing_new, without_copies
from memr_service.verifiers.numeric.words import ORDINALS, unit_of

LONGEST = 1024
"""Characters of a text that may be a short answer. Longer ones are not read, because that takes time."""
NUMBER_WORDS = frozenset((
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty", "forty",
    "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand", "million", "half",
))  # fmt: skip
"""English words for numbers."""
_FRAMES = {
    "en": "a ans answer answers final result solution value total sum the is are was be equals equal it its it's that "
    "so thus therefore hence then and or to of in at by per about approximately exactly plus minus times divided makes "
    "gives get gets we there",
    "de": "antwort die der das ist sind also lautet ergebnis ergibt es gleich und",
    "fr": "réponse reponse la le est c'est donc résultat resultat soit et il elle",
    "es": "respuesta el es son por tanto resultado entonces igual y",
    "it": "risposta la il è quindi risultato sono e",
    "pt": "resposta o é portanto são",
    "nl": "antwoord het dus",
    "ru": "ответ это равно и",
}
FRAME = frozenset(word for words in _FRAMES.values() for word in words.split())
"""Words around an answer that say nothing themselves."""
FRAME_WITHOUT_SPACES = re.compile(
    "最终|答案|结果|所以|因此|等于|一共|总共|共|是|为|答え|こたえ|です|は|정답|답|입니다|은|는"
)
"""The same in Chinese, Japanese and Korean, which join them to other words."""
_LABELS = {
    "en": "question problem exercise task step part item line page example attempt try error chapter section "
    "version gpt",
    "de": "frage aufgabe schritt teil",
    "fr": "question étape etape exercice problème",
    "es": "pregunta paso problema ejercicio parte",
    "it": "domanda passo",
    "pt": "pergunta",
    "ru": "вопрос шаг",
}
LABELLED = frozenset(word for words in _LABELS.values() for word in words.split())
"""A number after one of these is its name: "step 1" and "question 5" answer nothing."""
FEW = 4
"""Different words of the prompt that may stand around an answer."""
LONGEST_COUNTER = 2
"""Letters after a number that may be its unit or measure word, in scripts without spaces."""

_DECLINES = re.compile(
    r"n['’]t\b|\b(?:not|cannot|cant|dont|unable|sorry|unknown|unsure|idk|dunno|refuse"
    r"|nicht|kein\w*|weiß|leider|pas|désolée?|ignore|sé|sabe|não|sei|desculpe|siento|non|niet|weet|не|нет|знаю)\b"
    r"|[不没無无]|未知|ません|ない|모르|못",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"""
    (?P<number>\\[dt]?frac\{?\d+\}?\{?\d+\}?
      | \d{1,3}(?:[ \u00a0,]\d{3})+(?!\d)(?:\.\d+)? | \d+\s\d+/\d+ | [\d½¼¾⅐-⅞]+(?:[.,:/]\d+)*)
  | (?P<mark>\#{2,}|\*\*|\\(?:boxed|text|mathrm|mathbf|sqrt|pi|left|right|[()\[\]!,;:%$ ])
      | </?[A-Za-z]{1,12}>|["'`“”‘’(){}\[\]]|[$€£¥₹₩])
  | (?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)
  | (?P<unit>[%°‰])
  | (?P<operator>\\(?:times|cdot|div)\b|[-+±*/×÷·^=≈<>≤≥−])
  | (?P<pause>[,;:，：])
  | (?P<stop>\.+|[…!?。．！？])
  | (?P<other>\S)
    """,
    re.VERBOSE,
)
_ENDS = re.compile(r"[\W_]*\Z|[).:]")
_LETTERS = {"number": "N", "unit": "W", "operator": "O", "pause": "P", "stop": "S", "other": "X"}
_SIGNS = "-+±−"
_ANSWER = re.compile(r"(?![PS])(?!.*(?:X|NN|NSN|[OPS][OPS]|[OP]\Z)).*N.*")
"""An answer by its kinds of tokens: N an answer, W words, O an operator, P a pause, S the end of a sentence."""
_VERDICTS = frozenset(("yes", "no", "true", "false"))
_ASKS_FOR_VERDICT = re.compile(
    r"\b(?:yes|true|false|whether)\b|(?:\A|[.!?,:;\n]\s*)(?:is|are|was|were|do|does|did|will|would|should|has|have|had"
    r"|may|must|can|could)\s(?!you\b)[^.!?\n]*\?",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?<![\w'’])[A-HJ](?![\w'’])")
_ONE_OF = re.compile(r"\b(?:this|that|which|any|no|each|every|another)\s+one\b", re.IGNORECASE)
_BARE = re.compile(r"\W*\d+(?:[.,:/]\d+)*\W*")


def names_answer(text: str, prompt: str) -> bool:
    """Whether a completion is an answer of its own, which exempts a short one from `topic_floor` and `max_copied`.

    True if, outside of what it copies from its prompt, it is an answer and little else: numbers (in digits of any
    script, or in English words), alone or in one computation; "yes", "no", "true" or "false" where the prompt asks for
    that; or the letter of an option, where the prompt has several. Around them may stand units, currencies, the marks
    of a final answer (`####`, `\\boxed`), words such as "the answer is" (`FRAME`), and up to `FEW` words of the prompt.
    Any other word or sign makes it no short answer, and so do the name of a step ("step 1"), numbers in a row, and
    words that decline, such as "not", "sorry" and "unknown". A text of more than 1024 characters is none.

    >>> [names_answer(text, "What is 3 + 4?") for text in ("7", "The answer is seven.", "What is 3 + 4? 7")]
    [True, True, True]
    >>> [names_answer(text, "What is 3 + 4?") for text in ("", "I do not know.", "What is 3 + 4?", "Error 404", "No.")]
    [False, False, False, False, False]
    """
    stripped = text.strip()
    if not 0 < len(stripped) <= LONGEST or _DECLINES.search(stripped) or _ONE_OF.search(stripped):
        return False
    asked = _Prompt.of(prompt)
    own = stripped
    if not _BARE.fullmatch(stripped):
        own = without_copies(stripped, prompt)
        if says_nothing_new(stripped, prompt) and "=" not in stripped.strip("= "):
            return "N" in (kinds := "".join(asked.kinds(stripped))) and kinds.strip("WPS") == "N"
    return _ANSWER.fullmatch("".join(asked.kinds(own))) is not None


class _Prompt:
    """What a prompt allows in a short answer."""

    def __init__(self, prompt: str) -> None:
        self._text = prompt
        self._words = {found["word"].casefold() for found in _TOKEN.finditer(prompt) if found["word"]}
        letters = set(_OPTION.findall(prompt))
        self._options = letters if len(letters) > 1 else set()
        self._verdict = _ASKS_FOR_VERDICT.search(prompt) is not None

    @staticmethod
    @lru_cache(maxsize=1)
    def of(prompt: str) -> _Prompt:
        """The prompt, kept, because one prompt usually comes many times in a row."""
        return _Prompt(prompt)

    def kinds(self, text: str) -> Iterator[str]:
        """The kind of each token (`_ANSWER`); marks and the sign of a number have none, number words are one number."""
        before, word_before, has_number = "", "", False
        from_prompt: set[str] = set()
        for found in _TOKEN.finditer(text):
            kind = str(found.lastgroup)
            if kind == "mark" or (kind == "operator" and found[0] in _SIGNS and before in ("", "O", "P")):
                continue
            is_word = kind == "word"
            letter = self._word(found, before if has_number else "", from_prompt) if is_word else _LETTERS[kind]
            if letter == "N" and word_before in LABELLED:
                letter = "X"
            if before != "N" or found[0].casefold() not in NUMBER_WORDS:
                yield letter
            has_number |= letter == "N"
            before, word_before = letter, found[0].casefold() if is_word else ""

    def _word(self, found: re.Match[str], before: str, from_prompt: set[str]) -> str:
        """The kind of a word; `before` is the kind of the token before it, "" if there was no number yet."""
        word, folded = found[0], found[0].casefold().replace("’", "'")
        left, right = found.string[: found.start()], found.string[found.end() :]
        if word.isascii() and right[:1].isdigit():
            return "X"
        if before and unit_of(word) is not None and (len(word) > 2 or before in "NO"):
            return "W"
        if before == "N" and folded in ORDINALS:
            return "W"
        if before == "N" and len(word) <= LONGEST_COUNTER and not _spaced(word):
            return "W"
        if not left[-1:].isdigit():
            if folded in NUMBER_WORDS or (folded in _VERDICTS and self._verdict):
                return "N"
            if word in self._options and _ENDS.match(right):
                return "N"
            if folded in FRAME or (len(word) == 1 and right.lstrip().startswith("=")):
                return "W"
        if folded in self._words or self._joined(folded):
            from_prompt.add(folded)
            return "W" if len(from_prompt) <= FEW else "X"
        return "X"

    def _joined(self, word: str) -> bool:
        """Whether a word of a script without spaces is made of what may stand around an answer, and of the prompt."""
        if word.isascii():
            return False
        rest = FRAME_WITHOUT_SPACES.sub("", word)
        framed = rest != word and len(rest) <= FEW and all(letter in self._text for letter in rest)
        return framed or (len(word) <= FEW and not _spaced(word) and word in self._text)


def _spaced(word: str) -> bool:
    """Whether a word is of a script that separates words by spaces."""
    return max(map(ord, word)) < 0x2E80
