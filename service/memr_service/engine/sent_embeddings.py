"""Embeddings that a request carries: checked, and scaled to unit length (L2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from memr_client.errors import InvalidRequest
from memr_client.schemas import Embeddings, RewardRequest

from memr_service.memory.distinct import distinct
from memr_service.run.run import MOST_DIMENSIONS, too_many_dimensions

ROWS = 256
"""Rows of lists that become an array at a time. Other threads have a turn after each."""


LIGHT = 1 << 18
"""So many numbers are read on the event loop, in some milliseconds: five times a trainer's step of 64 completions."""


@dataclass(frozen=True, eq=False)
class SentEmbeddings:
    """The embeddings of n items.

    `prompts` (u, d): the distinct prompt embeddings, unit rows. `prompt_of` (n,): which of them is each item's.
    `completions` (n, d): unit rows. `raw`: prompts, `prompt_of` and completions as they came, for the body digest.
    """

    prompts: np.ndarray
    prompt_of: np.ndarray
    completions: np.ndarray
    raw: tuple[np.ndarray, ...]


def sent_embeddings(request: RewardRequest, keys: list[bytes]) -> SentEmbeddings | None:
    """The embeddings of a request; None if it carries none, so that the service computes them.

    Args:
        keys: identity of each item's prompt (n).

    Raises:
        InvalidRequest: there are not n rows (for prompts: as many rows as `prompt_of` names), the dimensions differ, or
            a row is zero or not finite.
    """
    sent, n = request.embeddings, len(request.prompts)
    if sent is None or n == 0:
        return None
    row_of = None if sent.prompt_of is None else rows_of(sent.prompt_of, n)
    prompts = matrix(sent.prompts, "prompts", n if row_of is None else max(row_of) + 1)
    completions = matrix(sent.completions, "completions", n)
    if prompts.shape[1] != completions.shape[1]:
        raise InvalidRequest(
            f"embeddings.prompts have dimension {prompts.shape[1]}, embeddings.completions {completions.shape[1]}.",
            value=[prompts.shape[1], completions.shape[1]],
            limit="one dimension",
            remedy="Embed both with the same model.",
        )
    first, prompt_of = distinct_prompts(prompts, keys, row_of)
    rows = first if row_of is None else np.array(row_of)[first]
    return SentEmbeddings(
        prompts=unit_rows(prompts, "prompts", rows),
        prompt_of=prompt_of,
        completions=unit_rows(completions, "completions"),
        raw=(prompts[rows], prompt_of, completions),
    )


def few_numbers(sent: Embeddings | None) -> bool:
    """Whether there are so few embeddings that they are read on the event loop."""
    return sent is None or _numbers(sent.prompts) + _numbers(sent.completions) <= LIGHT


def _numbers(raw: Any) -> int:
    """About how many numbers embeddings from the wire have."""
    if isinstance(raw, list):
        return sum(len(row) for row in raw if isinstance(row, list))
    return len(raw) // 4 if isinstance(raw, bytes | bytearray | memoryview) else int(np.size(raw))


def matrix(raw: Any, name: str, n: int) -> np.ndarray:
    """Embeddings from the wire as an array (n, d).

    Args:
        raw: nested lists, an array, or little-endian float32 bytes in row-major order.
        name: "prompts" or "completions", for the message.

    Raises:
        InvalidRequest: not numbers, not n rows of one length, or too many dimensions.
    """

    def refuse(what: str, value: Any) -> InvalidRequest:
        return InvalidRequest(
            f"embeddings.{name} {what}.",
            value=value,
            limit=f"{n} rows of d numbers, or n * d * 4 bytes of little-endian float32",
            remedy="Send one row for each item, all of the same dimension.",
        )

    if isinstance(raw, bytes | bytearray | memoryview):
        if len(raw) == 0 or n == 0 or len(raw) % (4 * n):
            raise refuse(f"is {len(raw)} bytes, which is not {n} rows of float32", len(raw))
        return _checked(np.frombuffer(raw, "<f4").reshape(n, -1))
    try:
        sent = _array(raw)
    except (ValueError, TypeError) as error:
        raise refuse("does not have rows of one length", None) from error
    if sent.ndim != 2 or sent.shape[0] != n or sent.shape[1] == 0:
        raise refuse(f"has shape {list(sent.shape)}", list(sent.shape))
    if sent.dtype.kind not in "fiu":
        raise refuse("holds something that is not a number", None)
    return _checked(sent)


def _array(raw: Any) -> np.ndarray:
    """Nested lists as an array, whose type is the one that all rows together need."""
    if not isinstance(raw, list) or len(raw) <= ROWS:
        return np.asarray(raw)
    return np.concatenate([np.asarray(raw[at : at + ROWS]) for at in range(0, len(raw), ROWS)])


def _checked(sent: np.ndarray) -> np.ndarray:
    """The embeddings, if they are not too wide for any run."""
    if sent.shape[1] > MOST_DIMENSIONS:
        raise too_many_dimensions(sent.shape[1])
    return sent


def rows_of(prompt_of: list[int], n: int) -> list[int]:
    """`embeddings.prompt_of`, which names a row for each of n items.

    Raises:
        InvalidRequest: it has another length, or names more rows than there are items.
    """
    if len(prompt_of) != n:
        raise InvalidRequest(
            f"embeddings.prompt_of has {len(prompt_of)} numbers for {n} items.",
            value=len(prompt_of),
            limit=n,
            remedy="Name for each item the row of embeddings.prompts that it has, or leave it out and send n rows.",
        )
    if (most := max(prompt_of)) >= n:
        raise InvalidRequest(
            f"embeddings.prompt_of names row {most}; {n} items have at most as many rows, counted from 0.",
            value=most,
            limit=n - 1,
            remedy="Send each embedding once, in the order in which items first have it.",
        )
    return prompt_of


def unit_rows(sent: np.ndarray, name: str, items: np.ndarray | None = None) -> np.ndarray:
    """Embeddings as sent (n, d) scaled to float32 rows of unit length (L2).

    Args:
        name: "prompts" or "completions", for the message.
        items: the rows to take (None: all).

    Raises:
        InvalidRequest: a row is zero or not finite.
    """
    # The order of summation follows the layout.
    matrix = np.array(sent if items is None else sent[items], np.float64, order="C")
    with np.errstate(over="ignore"):
        norms = np.sqrt((matrix * matrix).sum(axis=1))
    if len(norms) and not 0 < norms.min() <= norms.max() < np.inf:  # comparisons with NaN are false
        wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
        item = wrong[0] if items is None else items[wrong[0]]
        raise InvalidRequest(
            f"embeddings.{name}[{item}] is zero or not finite.",
            value=str(norms[wrong[0]]),
            limit="finite rows that are not zero",
            remedy="A text always has an embedding: check the encoder that computed it.",
        )
    matrix /= norms[:, None]
    return matrix.astype(np.float32)


def distinct_prompts(
    vectors: np.ndarray, keys: list[bytes], row_of: list[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (prompt, embedding) pairs: the first item of each pair (u,), and the pair of each item (n,).

    Args:
        vectors: embedding of each item's prompt (n, d).
        keys: identity of each item's prompt (n).
        row_of: row of `vectors` that each item has (n); None: its own.
    """
    rows: Iterable[bytes] = map(np.ndarray.tobytes, vectors)
    if row_of is not None:
        once = [*rows]
        rows = (once[row] for row in row_of)
    first, number = distinct(zip(keys, rows, strict=True))
    return first, number.astype("<i4")
