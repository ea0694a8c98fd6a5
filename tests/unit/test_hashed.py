"""Hashed n-grams: the vector of a text does not depend on how it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from memr_service.encoder import hashed


@pytest.mark.parametrize("length", [0, 1, 6, 7, 8, 14, 15, 100])
def test_a_long_text_in_pieces_has_the_vector_of_the_whole(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(np.random.default_rng(length).choice([*"abc é𝕏"], length))
    whole = hashed.hashed_vectors([text])
    monkeypatch.setattr(hashed, "_CHUNK_CHARS", 7)
    np.testing.assert_array_equal(hashed.hashed_vectors([text]), whole)
    np.testing.assert_array_equal(hashed.hashed_vectors([text, "x"])[:1], whole)
