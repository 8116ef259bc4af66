"""Bodies of responses become answers or errors, however their bytes are cut."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.anthropic import MessageReader
from chatserver.providers.base import Delta, ReasoningDelta, TextDelta
from chatserver.providers.failures import AttemptError
from chatserver.providers.openai import ChatCompletionReader
from chatserver.providers.response_body import PIECE_BYTES, CutError, ResponseBody
from chatserver.providers.wire import UnreadableError
from tests.kit.model_answers import ALL_CASES, ERROR, Answer, Right


def outcome(kind: str, chunks: Iterable[bytes]) -> Right:
    """What becomes of a body whose connection is closed in order after the last chunk."""
    reader = ChatCompletionReader() if kind == "openai" else MessageReader()
    body = ResponseBody(reader)
    deltas: list[Delta] = []
    try:
        for piece in itertools.chain.from_iterable(map(body.pieces, chunks)):
            body.feed(piece, deltas)
            if reader.over:
                break
        else:
            body.end(deltas)
    except CutError:
        pass
    except (AttemptError, UnreadableError):
        return ERROR
    if reader.stop_reason is None:
        return ERROR
    deltas += body.rest()
    return Answer(
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)),
        "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta)),
        reader.stop_reason,
    )


@pytest.mark.parametrize("name", ALL_CASES)
def test_known_response_gives_its_answer_or_error(name: str) -> None:
    kind, (data, right) = ALL_CASES[name]
    assert outcome(kind, [data]) == right


@pytest.mark.parametrize("name", ALL_CASES)
def test_body_cut_into_bytes_becomes_the_same(name: str) -> None:
    kind, (data, right) = ALL_CASES[name]
    assert outcome(kind, (data[i : i + 1] for i in range(len(data)))) == right


@given(st.data())
def test_body_cut_anywhere_becomes_the_same(draw: st.DataObject) -> None:
    kind, (data, right) = ALL_CASES[draw.draw(st.sampled_from(sorted(ALL_CASES)))]
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    edges = [0, *cuts, len(data)]
    assert outcome(kind, (data[a:b] for a, b in itertools.pairwise(edges))) == right


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_long_chunk_is_read_in_short_pieces(encoding: str) -> None:
    """Between two pieces others have their turn."""
    data = b"data: {}\n\n" * 100_000
    body = ResponseBody(ChatCompletionReader())
    body.encoding = encoding
    pieces = list(body.pieces(gzip.compress(data) if encoding else data))
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert b"".join(pieces) == data
