"""Request bodies: read, decompressed, parsed; every error has its status."""

import gzip
import json
import threading
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_client.errors import InvalidRequest, MalformedBody, ProblemError, TooLarge, UnsupportedMedia
from memr_client.schemas import Explain, OpenRLHFRequest, ReplayRequest, RewardRequest, RunConfig
from memr_service.app import body, body_size
from memr_service.app.arrived_bodies import ArrivedBodies
from memr_service.app.large_bodies import LargeBodies, Place
from memr_service.settings import Settings
from starlette.requests import ClientDisconnect, Request

SETTINGS = Settings(max_body_bytes=4096, max_items=4, max_text_chars=100)
JSON, MSGPACK = "application/json", "application/msgpack"
EMPTY = gzip.compress(b"{}", mtime=0)


def fields(n=2, **more):
    return {"run_id": "r", "prompts": ["q"] * n, "completions": ["a"] * n, "outcomes": [1.0] * n, **more}


def decode(raw, media=JSON, packed=False, model=RewardRequest, settings=SETTINGS):
    if not isinstance(raw, bytes):
        raw = json.dumps(raw).encode() if media == JSON else msgpack.packb(raw)
    if packed:
        raw = body.decompress(raw, settings.max_body_bytes)
    return body.decode(raw, media, model, settings)[0]


def request(chunks, content_type=JSON, **headers):
    """A request whose body comes in these chunks; None is a client that disconnects."""
    messages = [
        {"type": "http.disconnect"} if c is None else {"type": "http.request", "body": c, "more_body": True}
        for c in chunks
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    left = iter(messages)

    async def receive():
        return next(left)

    state = {"place": Place(ArrivedBodies(1 << 30), LargeBodies(), "here")}
    raw = [(b"content-type", content_type.encode())] if content_type else []
    raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/reward", "headers": raw, "state": state}, receive), left


@pytest.fixture
def parse():
    import asyncio

    def run(chunks, content_type=JSON, model=RewardRequest, settings=SETTINGS, **headers):
        one, _ = request(chunks, content_type, **headers)
        return asyncio.run(body.parse(one, model, settings))

    return run


@pytest.mark.parametrize("media", [JSON, MSGPACK])
def test_both_types_give_the_same_request(media):
    assert decode(fields(), media) == RewardRequest(**fields())


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8"])
def test_the_content_type_may_be_written_in_any_way(parse, content_type):
    assert parse([json.dumps(fields()).encode()], content_type).run_id == "r"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_other_content_types_are_415_and_the_remedy_names_the_header(parse, content_type):
    with pytest.raises(UnsupportedMedia, match="Content-Type: application/json"):
        parse([b"{}"], content_type)


def test_a_body_without_a_type_is_json_and_no_body_an_empty_object():
    assert decode(b"", model=RunConfig) == decode(b"{}", model=RunConfig) == RunConfig()


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_encodings_are_415(parse, encoding):
    with pytest.raises(UnsupportedMedia) as refused:
        parse([EMPTY if encoding == "gzip" else b"{}"], content_encoding=encoding)
    assert refused.value.limit == ["identity", "gzip"]


def test_a_body_in_many_pieces_is_one_body(parse):
    raw = json.dumps(fields()).encode()
    assert parse([raw[i : i + 7] for i in range(0, len(raw), 7)]).completions == ["a", "a"]


def test_bytes_are_counted_as_they_arrive_whatever_content_length_says():
    import asyncio

    one, left = request([b"x" * 1000] * 100, content_length="10")
    with pytest.raises(TooLarge) as refused:
        asyncio.run(body.parse(one, RewardRequest, SETTINGS))
    assert refused.value.limit == 4096
    assert len(list(left)) == 96, "reading stopped with the fifth piece"


def test_a_client_that_disconnects_while_sending_its_body_is_not_an_error_of_the_body(parse):
    with pytest.raises(ClientDisconnect):
        parse([b"{", None])


@pytest.mark.parametrize(("big", "encoding"), [(False, "identity"), (True, "identity"), (False, "gzip")])
def test_large_and_gzipped_bodies_are_parsed_in_another_thread(parse, monkeypatch, big, encoding):
    threads = []
    monkeypatch.setattr(body, "decode", lambda *args: (threads.append(threading.current_thread()), []))
    monkeypatch.setattr(body, "BIG", 1 if big else 1000)
    parse([EMPTY if encoding == "gzip" else b"{}"], content_encoding=encoding)
    assert (threads == [threading.main_thread()]) is not (big or encoding == "gzip")


def test_a_gzipped_body_is_decompressed(parse):
    assert parse([gzip.compress(json.dumps(fields()).encode())], content_encoding="gzip").run_id == "r"


@pytest.mark.slow
def test_a_gzip_bomb_is_stopped_at_the_limit():
    bomb = gzip.compress(bytes(256 << 20), 9)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        decode(bomb, packed=True, settings=Settings(max_body_bytes=1 << 20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("raw", [b"", b"no gzip", EMPTY[:-4], EMPTY + b"more"])
def test_what_is_not_one_whole_gzip_member_is_422(raw):
    with pytest.raises(MalformedBody, match="gzip"):
        decode(raw, packed=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{'a': 1}",
        b"\xff",
        b'{"outcomes": [NaN]}',
        b"[1e999]",
        b"[" * 2000 + b"]" * 2000,
        b"{} {}",
    ],
)
def test_what_is_not_json_is_422_and_not_repeated(raw):
    with pytest.raises(MalformedBody, match="not JSON") as refused:
        decode(raw)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "raw", [b"\xc1", b"\x81\xa1a", b"\xa1\xff", b"\x01\x02", b"\x91" * 5000 + b"\x01", b"\x81\x90\x01"]
)
def test_what_is_not_messagepack_is_422(raw):
    with pytest.raises(MalformedBody, match="not MessagePack"):
        decode(raw, MSGPACK)


HALF = "\ud83d"


@pytest.mark.parametrize("form", ["escape", "bytes", "gzip", "msgpack"])
def test_half_a_surrogate_pair_is_read_as_a_replacement_character_and_its_text_is_named(form):
    sent = fields(
        completions=["whole", [{"role": "assistant", "content": f"cut {HALF}"}]],
        labels=[f"{HALF}a", "b"],
        prompt_ids=["a", f"{HALF}\ude00"],
        embeddings={"prompts": [[1.0]] * 2, "completions": [[1.0]] * 2},
    )
    raw = {
        "escape": lambda: json.dumps(sent).encode(),
        "bytes": lambda: json.dumps(sent, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        "gzip": lambda: gzip.compress(json.dumps(sent).encode()),
        "msgpack": lambda: msgpack.packb(sent, unicode_errors="surrogatepass"),
    }[form]()
    media = MSGPACK if form == "msgpack" else JSON
    plain = body.decompress(raw, MIB) if form == "gzip" else raw
    read, (warning,) = body.decode(plain, media, RewardRequest, SETTINGS)
    assert read.completions[1][0].content == "cut \ufffd"
    assert read.labels == ["\ufffda", "b"]
    assert read.prompt_ids == ["a", "\U0001f600"], "both halves side by side are a character"
    assert "completions[1][0].content, labels[0]:" in warning


def test_many_texts_with_a_half_are_counted():
    _, (warning,) = body.decode(
        json.dumps(fields(4, labels=[HALF] * 4, answers=[HALF] * 4)).encode(), JSON, RewardRequest, SETTINGS
    )
    assert "answers[0] and 3 more" in warning


@pytest.mark.parametrize(
    "raw",
    [b'{"a": "\\ud83d"', b'{"a": "\\ud83d", "b": NaN}', b'{"a": "\xed\xa0\xbd\xff"}', b"[" * 5000 + b'"\\ud83d"'],
)
def test_halves_excuse_nothing_else(raw):
    with pytest.raises(MalformedBody, match="not JSON"):
        decode(raw)


@pytest.mark.parametrize("raw", [b"null", b"[]", b'"text"', b"3"])
def test_what_is_not_an_object_is_422(raw):
    with pytest.raises(InvalidRequest):
        decode(raw)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"outcomes": ["1.0", 1.0]}, ["outcomes", 0]),
        ({"outcomes": [None, 1.0]}, ["outcomes", 0]),
        ({"outcomes": [1.0]}, []),
        ({"step": 1.5}, ["step"]),
        ({"step": -1}, ["step"]),
        ({"step": 2**64 - 1}, ["step"]),
        ({"prompts": "secret"}, ["prompts"]),
        ({"completions": ["secret", None]}, ["completions", 1]),
        ({"run_id": "../etc"}, ["run_id"]),
        ({"request_id": "é"}, ["request_id"]),
        ({"mode": "test"}, ["mode"]),
        ({"unknown": "secret"}, ["unknown"]),
        ({"part": 0}, []),
        ({"embeddings": {"prompts": []}}, ["embeddings", "completions"]),
    ],
)
def test_a_wrong_field_is_422_with_its_place(wrong, where):
    with pytest.raises(InvalidRequest) as refused:
        decode(fields() | wrong)
    document = refused.value.document()
    assert document["errors"][0]["loc"] == where
    assert document["remedy"]
    assert document["limit"]
    assert "secret" not in json.dumps(document)


def test_not_a_number_in_messagepack_is_422():
    with pytest.raises(InvalidRequest) as refused:
        decode(fields(outcomes=[float("nan"), float("inf")]), MSGPACK)
    assert [error["loc"] for error in refused.value.document()["errors"]] == [["outcomes", 0]]


def test_the_first_wrong_entry_of_each_column_is_reported():
    with pytest.raises(InvalidRequest, match="1 more field is wrong") as refused:
        decode(fields(4, outcomes=[1, "x", "y", "z"], prompts=["q", 1, 2, 3]))
    listed = [error["loc"][:2] for error in refused.value.document()["errors"]]
    assert listed == [["prompts", 1], ["outcomes", 1]]


def test_at_most_ten_errors_are_listed_and_the_others_counted():
    with pytest.raises(InvalidRequest, match="15 more fields are wrong") as refused:
        decode({"step": "x", "mode": 1, **{f"unknown{number}": 0 for number in range(5000)}})
    assert len(refused.value.document()["errors"]) == 10


MIB = 1 << 20
NUMBERS = b'{"run_id":"a","completions":[],"outcomes":[],"prompts":[%b0]}' % (b"0," * MIB)
UNKNOWN = b"{%b}" % b",".join(b'"%x":0' % number for number in range(MIB // 5))
CHAT = b'{"run_id":"a","completions":["c"],"outcomes":[0],"prompts":[[%b]]}'
AMPLIFIED = {
    "numbers where texts belong": (NUMBERS, JSON, RewardRequest),
    "unknown fields": (UNKNOWN, JSON, RewardRequest),
    "unknown fields of a config": (UNKNOWN, JSON, RunConfig),
    "unknown components": (b'{"components":%b}' % UNKNOWN, JSON, RunConfig),
    "messages without a role": (CHAT % (b"{}," * (MIB // 6) + b"{}"), JSON, RewardRequest),
    "very many messages": (CHAT % (b"{}," * MIB + b"{}"), JSON, RewardRequest),
    "very many settings": (b'{"settings":[%b{}]}' % (b"{}," * (MIB // 6)), JSON, ReplayRequest),
    "labels": (b'{"query":[],"prompts":[],"labels":[%b{}]}' % (b"{}," * MIB), JSON, OpenRLHFRequest),
    "short texts": (CHAT % (b'"ab",' * MIB + b'"ab"'), JSON, RewardRequest),
    "lists": (b"\x81\xa1a\xdd" + MIB.to_bytes(4, "big") + b"\x90" * MIB, MSGPACK, RewardRequest),
    "lists of texts": (b"\x81\xa1a\x94" + (b"\xdd\x00\x03\xff\xff" + b"\xa2ab" * 0x3FFFF) * 5, MSGPACK, RewardRequest),
}


@pytest.mark.slow
@pytest.mark.parametrize(("raw", "media", "model"), AMPLIFIED.values(), ids=AMPLIFIED.keys())
def test_a_body_is_refused_before_it_becomes_much_memory(raw, media, model):
    tracemalloc.start()
    try:
        with pytest.raises((TooLarge, InvalidRequest, MalformedBody)):
            decode(raw, media, model=model, settings=Settings())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Half of it is reserved and never touched: resident memory grows by less than 40 bytes for each byte.
    assert peak < 100 * len(raw) + MIB


def test_what_texts_contain_does_not_count():
    code = '{[,"\\' * 60_000
    assert decode(fields(2, completions=[code, code]), settings=Settings()).completions == [code, code]


@pytest.mark.parametrize(
    ("model", "given", "named"),
    [
        (Explain, {"prompt": "q", "completion": "x" * 101}, "completion has"),
        (Explain, {"prompt": "q" * 101, "completion": "x"}, "prompt has"),
        (Explain, {"prompt": "q", "completion": [{"role": "assistant", "content": "x" * 101}]}, "completion has"),
        (RewardRequest, fields(answers=["", "x" * 101]), r"answers\[1\] has"),
        (RewardRequest, fields(prompt_ids=["", "x" * 101]), r"prompt_ids\[1\] has"),
        (OpenRLHFRequest, {"query": ["q"], "prompts": ["p"], "labels": [{"answer": "x" * 101}]}, r"labels\[0\] has"),
    ],
)
def test_every_text_has_a_limit(model, given, named):
    with pytest.raises(TooLarge, match=f"{named} too many characters") as refused:
        decode(given, model=model)
    assert refused.value.limit == 100


def test_a_text_as_the_name_of_a_field_is_cut():
    with pytest.raises(InvalidRequest) as refused:
        decode(fields() | {"x" * 1000: 1})
    assert refused.value.document()["errors"][0]["loc"] == ["x" * 64]


@pytest.mark.parametrize(
    "extra",
    [b"bytes", msgpack.Timestamp(1, 1), msgpack.ExtType(5, b"x"), {1: 2}, {b"k": 1}],
    ids=lambda e: type(e).__name__,
)
def test_messagepack_may_not_carry_what_json_cannot_outside_embeddings(extra):
    message = {"role": "user", "content": "q", "meta": extra}
    with pytest.raises((InvalidRequest, MalformedBody)):
        decode(fields(1, prompts=[[message]]), MSGPACK)


def test_nesting_that_could_not_be_written_again_is_422():
    deep = "x"
    for _ in range(300):
        deep = [deep]
    with pytest.raises(InvalidRequest) as refused:
        decode(fields(1, prompts=[[{"role": "user", "content": "q", "meta": deep}]]))
    assert "250 deep" in refused.value.limit


def test_embeddings_are_left_as_they_came():
    rows = np.eye(2, 3, dtype="<f4").tobytes()
    request = decode(fields(embeddings={"prompts": rows, "completions": rows}), MSGPACK)
    assert request.embeddings.prompts == rows
    request = decode(fields(embeddings={"prompts": [[1, 2.5]], "completions": "nonsense"}))
    assert (request.embeddings.prompts, request.embeddings.completions) == ([[1, 2.5]], "nonsense")


def test_too_many_items_are_413_and_as_many_as_allowed_are_not():
    assert len(decode(fields(4)).prompts) == 4
    with pytest.raises(TooLarge, match="MEMR_MAX_ITEMS") as refused:
        decode(fields(5))
    assert (refused.value.value, refused.value.limit) == (5, 4)


@pytest.mark.parametrize("column", ["prompts", "completions"])
def test_a_text_that_is_too_long_is_413_and_named_by_its_place(column):
    chat = [{"role": "user", "content": "x" * 60}, {"role": "user", "content": [{"type": "text", "text": "y" * 41}]}]
    for text in ("x" * 101, chat):
        with pytest.raises(TooLarge) as refused:
            decode(fields() | {column: ["x" * 100, text]})
        assert refused.value.detail.startswith(f"{column}[1]")
        assert (refused.value.value, refused.value.limit) == (101, 100)


def test_configs_are_read_in_the_same_way():
    assert decode({"k": 20, "reasoning_tags": ["<a>", "</a>"]}, MSGPACK, model=RunConfig).k == 20
    with pytest.raises(InvalidRequest) as refused:
        decode({"k": 0}, model=RunConfig)
    assert (refused.value.value, refused.value.limit) == (0, "at least 1")


def outcome(*args, **kwargs):
    """The status of the response to a body; 200 if it becomes a request."""
    try:
        decode(*args, **kwargs)
    except ProblemError as problem:
        json.dumps(problem.document())
        return problem.status
    return 200


@given(st.binary(max_size=200), st.sampled_from([JSON, MSGPACK]), st.booleans())
def test_any_bytes_at_all_give_a_problem_or_a_request(raw, media, packed):
    assert outcome(raw, media, packed) in (200, 413, 422)


_anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.sampled_from(list(RewardRequest.model_fields)), _anything)
def test_any_value_in_any_field_gives_a_problem_or_a_request(field, value):
    assert outcome(fields() | {field: value}, MSGPACK, settings=Settings()) in (200, 413, 422)


@pytest.mark.parametrize(
    ("raw", "says", "remedy"),
    [
        (b'{"outcomes": [NaN]}', "NaN at character 14", "JSON has no NaN."),
        (b'{"outcomes": [1, nan]}', "nan at character", "JSON has no nan."),
        (b'{"outcomes": [-Infinity]}', "-Infinity at character", "JSON has no -Infinity."),
        (b"{'a': 1}", "a single quote at character 1", "double quotes"),
        (b"{outcomes: [1]}", "the name outcomes has no quotes", 'Write "outcomes".'),
        (b'{"answers": [None]}', "None at character 13", "Write null, not None."),
        (b'{"truncated": [True]}', "True at character 15", "Write true, not True."),
        ('{"prompts": ["é"]}'.encode("latin-1"), "it is not UTF-8, byte 0xe9 at position 14", "as UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "it is not UTF-8", "UTF-16"),
        ('{"a": 1}'.encode("utf-8-sig"), "byte order mark", "not as utf-8-sig"),
        (b'{"a": 1,}', "trailing comma", "Remove the last comma."),
        (b'{"a": "NaN', "unexpected end of data", "ends too early"),
        (b'{"a": 1} {"a": 2}', "content after document", "one object in a request"),
        (b'{"a": "x\ny"}', "control character", r"\n"),
        (EMPTY, "it is gzip", "Content-Encoding: gzip"),
        (b"\x81\xa1a\xff", "it is not UTF-8", "application/msgpack"),
        (b"a=1&b=2", "expected a JSON value at character 0", "Content-Type"),
    ],
)
def test_each_mistake_in_json_has_its_remedy(raw, says, remedy):
    with pytest.raises(MalformedBody) as refused:
        decode(raw)
    assert says in refused.value.detail
    assert remedy in refused.value.remedy


@pytest.mark.parametrize("media", [JSON, MSGPACK])
def test_an_empty_body_is_called_empty_where_fields_are_needed(media):
    with pytest.raises(MalformedBody) as refused:
        decode(b"", media)
    assert refused.value.detail == "The body is empty."
    assert "prompts" in refused.value.limit
    assert decode(b" \n", JSON, model=ReplayRequest) == ReplayRequest()


@given(
    st.lists(st.sampled_from(['"', "\\", "[", "{", ",", "a", '"x"', '"\\\\"', '"\\""']), max_size=60), st.integers(2, 9)
)
def test_what_is_outside_of_texts_does_not_depend_on_where_pieces_end(parts, size):
    raw = "".join(parts).encode()
    counts = []
    for piece in (size, 1000):
        body_size.PIECE, before = piece, body_size.PIECE
        try:
            pieces = [*body_size._outside_texts(raw)]
        finally:
            body_size.PIECE = before
        counts.append((b"".join(plain for plain, _ in pieces), sum(quotes for _, quotes in pieces)))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 5000])
def test_a_body_is_unpacked_in_pieces(monkeypatch, n):
    monkeypatch.setattr(body, "PIECE", 1000)
    monkeypatch.setattr(body, "PACKED_PIECE", 7)
    for plain in (bytes(n), np.random.default_rng(n).bytes(n)):
        assert body.decompress(gzip.compress(plain), 5000) == plain
        with pytest.raises(MalformedBody):
            body.decompress(gzip.compress(plain)[:-1], 5000)
        with pytest.raises(MalformedBody):
            body.decompress(gzip.compress(plain) + b"x", 5000)


def test_a_gzip_body_that_is_larger_than_its_end_says_is_stopped_there():
    packed = gzip.compress(bytes(5000))
    with pytest.raises(MalformedBody):
        body.decompress(packed[:-4] + (10).to_bytes(4, "little"), 1 << 20)
    with pytest.raises(TooLarge):
        body.decompress(packed, 4999)


@pytest.mark.parametrize("value", [b"x", {"a": b"x"}, 1 << 70])
@pytest.mark.parametrize("at", [0, 15, 16, 40])
def test_a_value_that_json_cannot_carry_is_found_wherever_it_is(value, at):
    labels = ["x"] * 50
    labels[at] = value
    with pytest.raises(InvalidRequest, match="JSON cannot carry"):
        body._check_plain({"labels": labels}, at_once=False)
    body._check_plain({"embeddings": [value] * 50, "labels": ["x"] * 50}, at_once=False)
