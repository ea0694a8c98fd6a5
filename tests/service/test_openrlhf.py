"""`POST /openrlhf/{run_id}`: the protocol, errors, waiting, and API keys."""

import asyncio
import hashlib
import json
import logging
import threading

import pytest
from memr_client.errors import Overloaded, Unavailable
from memr_service.app import create_app, disconnect, patience
from memr_service.app.judging.verifier_pool import Outcomes, VerifierPool
from memr_service.app.openrlhf import texts
from memr_service.engine.service import Service
from memr_service.settings import Settings
from starlette.testclient import TestClient

TEMPLATE = "<|im_start|>system\nThink.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PATTERN = r"<\|im_start\|>user\n(.*?)<\|im_end\|>"
QUESTION = "What is 7 + 5?"
PROMPT = TEMPLATE.format(QUESTION)
SETTINGS = {"store": "memory:", "encoder": "hashed", "preload": False, "max_items": 64, "max_text_chars": 1000}
CONFIG = {"verifier": "numeric", "explore_warmup_steps": 0, "prompt_pattern": PATTERN}


def body(*completions, label="12", prompt=PROMPT, **more):
    return {
        "query": [f"{prompt}{completion}<|im_end|>" for completion in completions],
        "prompts": [prompt] * len(completions),
        "labels": [label] * len(completions),
        **more,
    }


@pytest.fixture
def client():
    with TestClient(create_app(Settings(**SETTINGS))) as client:
        assert client.put("/runs/run", json=CONFIG).status_code == 201
        yield client


def ask(client, sent, run="run", **params):
    response = client.post(f"/openrlhf/{run}", json=sent, params=params)
    assert response.status_code == 200, response.text
    return response.json()


def state(client, run="run"):
    return client.get(f"/runs/{run}?digest=1").json()


# The protocol


def test_scores_are_outcomes_and_rewards_add_the_memorys(client):
    client.put("/runs/run", json=CONFIG | {"memory_weight": 0.5})
    for _ in range(3):
        answer = ask(client, body("It is 12.", "7 + 5 is 12", "Is it 13?", "11"))
    logs = answer["extra_logs"]
    assert answer["scores"] == logs["outcome"] == [1, 1, 0, 0]
    assert len(set(logs["memory_reward"])) > 1
    expected = [score + 0.5 * memory for score, memory in zip(answer["scores"], logs["memory_reward"], strict=True)]
    assert answer["rewards"] == pytest.approx(expected)
    assert state(client)["memory"]["success"]["completions"] == state(client)["memory"]["failure"]["completions"] == 6


def test_responses_are_lists_of_numbers_under_the_same_names(client):
    first = ask(client, body("12"))
    ask(client, body("13"))
    later = ask(client, body("12 it is"))
    evaluated = ask(client, body("12"), mode="eval")
    empty = ask(client, body())
    names = list(first["extra_logs"])
    for answer, n in ((first, 1), (later, 1), (evaluated, 1), (empty, 0)):
        assert list(answer["extra_logs"]) == names
        for values in (answer["rewards"], answer["scores"], *answer["extra_logs"].values()):
            assert len(values) == n
            assert all(type(value) is float for value in values)
    assert (first["extra_logs"]["exploit_defined"], first["extra_logs"]["exploit"]) == ([0.0], [0.0])
    assert later["extra_logs"]["exploit_defined"] == [1.0]
    assert later["extra_logs"]["exploit"][0] < 0


def test_no_samples_get_empty_lists_even_without_a_verifier(client):
    client.put("/runs/unjudged", json={})
    answer = ask(client, body(), run="unjudged")
    assert answer["rewards"] == answer["scores"] == []
    assert answer["extra_logs"]
    assert not any(answer["extra_logs"].values())


def test_one_request_of_a_group_gets_what_reward_gives_for_the_same(client):
    completions = ["It is 12.", "Twelve, or 12", "13", "I say 7 + 5 = 11"]
    client.put("/runs/plain", json=CONFIG)
    for _ in range(2):
        answer = ask(client, body(*completions))["extra_logs"]
        sent = {"prompts": [QUESTION] * 4, "completions": completions, "outcomes": [1, 1, 0, 0]}
        plain = client.post("/reward", json={"run_id": "plain", **sent}).json()
    assert answer["memory_reward"] == plain["rewards"]
    assert answer["exploit"] == plain["components"]["exploit"]["raw"]
    assert answer["explore_scaled"] == plain["components"]["explore"]["scaled"]
    assert answer["support_failure"] == plain["support"]["failure"]
    assert state(client)["digest"] == state(client, "plain")["digest"]


def test_the_template_is_removed_from_a_prompt(client):
    logs = ask(client, body("12"))["extra_logs"]
    ask(client, body("12", prompt=PROMPT.replace("Think.", "Think hard.")))
    assert state(client)["memory"]["success"] == {"prompts": 1, "completions": 2}
    assert logs["pattern_unmatched"] == [0.0]
    assert ask(client, body("12", prompt="7 + 5 = "))["extra_logs"]["pattern_unmatched"] == [1.0]


def test_prompts_that_were_cut_or_lost_are_counted(client):
    sent = body("12", "12", "12")
    sent["query"][1:] = ["5?<|im_end|>\n<|im_start|>assistant\n12", "12"]
    logs = ask(client, sent)["extra_logs"]
    assert (logs["prompt_cut"], logs["prompt_lost"]) == ([0, 1, 0], [0, 0, 1])


@pytest.mark.parametrize(
    "label",
    ["12", "7 + 5 = 12\n#### 12", 12, 12.0, ["12"], [12, 12], {"answer": "12"}, {"answer": ["12"], "split": "train"}],
)
def test_a_label_is_a_text_a_number_a_list_of_one_or_an_answer_with_its_split(client, label):
    assert ask(client, body("It is 12", label=label))["scores"] == [1.0]
    assert state(client)["position"] == 1


@pytest.mark.parametrize("split", ["eval", "test", "validation", "Dev", " test_easy"])
def test_samples_of_other_splits_are_read_and_not_remembered(client, split):
    ask(client, body("12", "13"))
    before = state(client)
    answer = ask(client, body("It is 12", label={"answer": "12", "split": split}))
    assert answer["scores"] == [1.0]
    assert answer["extra_logs"]["support_success"] == [1.0]
    assert ask(client, body("It is 12"), mode="eval") == answer
    assert state(client) == before


def test_whole_numbers_as_labels_have_no_fraction(client):
    client.put("/runs/exact", json=CONFIG | {"verifier": "exact"})
    assert ask(client, body("12", label=12.0), "exact")["scores"] == [1.0]
    assert ask(client, body("12.5", label=12.5), "exact")["scores"] == [1.0]


def test_an_object_without_an_answer_is_refused_by_its_keys(client):
    refused = client.post("/openrlhf/run", json=body("12", label={"target": "12", "split": "train"}))
    assert refused.json()["value"] == "an object with the keys ['target', 'split']"


@pytest.mark.parametrize("text", ["12 \0", "\0", "after\0all 12"])
def test_nul_bytes_in_a_query_and_a_label_are_characters_like_others(client, text):
    client.put("/runs/exact", json=CONFIG | {"verifier": "exact"})
    assert ask(client, body(text, label=text), "exact")["scores"] == [1.0]
    assert ask(client, body(text, label="12"))["scores"] == [float("12" in text)]


@pytest.mark.parametrize("verifier", ["exact", "numeric"])
def test_half_a_surrogate_pair_in_a_query_or_a_label_is_read_with_a_warning(client, caplog, verifier):
    client.put("/runs/broken", json=CONFIG | {"verifier": verifier})
    sent = body("12", "12", "12")
    sent["query"][1] += " \ud83d"
    sent["labels"][2] = {"answer": "12", "note": "\udc00"}
    with caplog.at_level(logging.WARNING, "memr"):
        raw = json.dumps(sent)  # as aiohttp writes it: an escape, which UTF-8 could not carry
        answer = client.post("/openrlhf/broken", content=raw, headers={"Content-Type": "application/json"}).json()
    assert answer["scores"] == [1.0, float(verifier == "numeric"), 1.0]
    (warning,) = answer["warnings"]
    assert "query[1]" in warning
    assert "labels[2].note" in warning
    assert warning in caplog.text


def test_what_is_not_judged_in_time_counts_as_wrong_and_is_said(client, caplog, monkeypatch):
    async def late(pool, run_id, verifier, completions, answers, seconds):
        assert seconds == 30
        return Outcomes([1.0, 0.0, 0.0], [False, False, True])

    monkeypatch.setattr(VerifierPool, "outcomes", late)
    with caplog.at_level(logging.WARNING, "memr"):
        answer = ask(client, body("12", "13", "14"))
    assert answer["extra_logs"]["unjudged"] == [0, 0, 1]
    assert answer["scores"] == [1, 0, 0]
    (warning,) = answer["warnings"]
    assert "1 of 3 completions" in warning
    assert "query[2]" in warning
    assert "MEMR_VERIFIER_S" in warning
    assert warning in caplog.text
    assert "memr_unjudged_completions_total 1.0" in client.get("/metrics").text
    assert state(client)["memory"]["failure"]["completions"] == 2


def test_an_unknown_split_is_read_logged_and_not_remembered(client, caplog):
    for _ in range(2):
        answer = ask(client, body("It is 12", label={"answer": "12", "split": "aime-of-this-day"}))
    assert answer["extra_logs"]["split_unknown"] == [1.0]
    assert state(client)["position"] == 0
    (said,) = [text for text in caplog.messages if "aime-of-this-day" in text]
    assert "neither training" in said
    assert ask(client, body("It is 12"))["extra_logs"]["split_unknown"] == [0.0]


def test_a_caller_may_send_outcomes(client):
    client.put("/runs/mine", json={})
    assert ask(client, body("a", "b", label="", outcomes=[0.25, 1]), "mine")["scores"] == [0.25, 1.0]


@pytest.mark.parametrize(
    ("params", "fields", "most"),
    [({}, {}, 0.0), ({"equal_spread": 0.2}, {}, 0.2), ({}, {"equal_spread": 0.1}, 0.1)],
)
def test_equal_groups_are_held_to_0_unless_asked_and_the_log_says_so_once(client, caplog, params, fields, most):
    client.put("/runs/spread", json=CONFIG | {"max_spread": 0.5, "equal_spread": 0.25})
    wrong = ["Is it 13?", "11", "Seven and five make a large number, 14", "It might be 99, or so I think"]
    with caplog.at_level(logging.WARNING, "memr.app"):
        found = [ask(client, body(*wrong, **fields), "spread", **params) for _ in range(3)]
    spreads = [max(one["extra_logs"]["memory_reward"]) - min(one["extra_logs"]["memory_reward"]) for one in found]
    assert max(spreads) == pytest.approx(most, abs=1e-9)
    said = [record.message for record in caplog.records if "equal_spread=0.25" in record.message]
    assert len(said) == (0 if most else 1)
    mixed = ask(client, body("It is 12", "7 + 5 is 12, I think", "Is it 13?", "11"), "spread")["extra_logs"]
    assert len(set(mixed["memory_reward"])) > 1


@pytest.mark.parametrize("wrong", ["-1", "nan", "much"])
def test_a_spread_in_the_address_that_is_no_spread_is_refused(client, wrong):
    response = client.post("/openrlhf/run", json=body("12"), params={"equal_spread": wrong})
    assert response.status_code == 422
    assert "equal_spread" in response.json()["detail"]


def test_an_id_of_the_callers_own_counts_once(client):
    first = ask(client, body("12", request_id="r1"))
    assert ask(client, body("12", request_id="r1")) == first
    assert client.post("/openrlhf/run", json=body("13", request_id="r1")).status_code == 422
    assert state(client)["position"] == 1


def test_equal_samples_are_different_samples(client):
    client.put("/runs/group", json=CONFIG | {"barrier": "group", "group_size": 3})
    answers = together(client, [body("12")] * 3, "group")
    assert [answer["scores"] for answer in answers] == [[1.0]] * 3
    assert state(client, "group")["memory"]["success"]["completions"] == 3
    assert state(client, "group")["position"] == 1


def together(client, bodies, run):
    """The responses to requests that wait for each other."""
    answers = [None] * len(bodies)

    def one(place):
        answers[place] = ask(client, bodies[place], run)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_unknown_fields_of_a_newer_openrlhf_are_ignored(client):
    assert ask(client, body("12", images=[None]))["scores"] == [1.0]


# Errors: a remedy in the log, and nothing changes

NO_JUDGE = {"prompt_pattern": PATTERN}
REFUSED = [
    (422, CONFIG, body("12", label=""), "--data.label_key"),
    (422, CONFIG, body("12", label=None), "--data.label_key"),
    (422, CONFIG, body("12", label={"split": "train"}), "--data.label_key"),
    (422, CONFIG, body("12", label=True), "--data.label_key"),
    (422, CONFIG, body("12", label=[]), "--data.label_key"),
    (422, CONFIG, body("12", label=["12", "13"]), "Choose one"),
    (422, CONFIG, body("12", label={"target": "12"}), "--data.label_key"),
    (422, CONFIG, body("12", label="twelve"), "label"),
    (422, CONFIG, body("12", "12") | {"labels": ["12", {"answer": "12", "split": "test"}]}, "two requests"),
    (422, CONFIG, body("12") | {"labels": []}, "errors"),
    (422, CONFIG, body("12", outcomes=[1, 0]), "errors"),
    (422, CONFIG, {"query": ["12"]}, "errors"),
    (422, NO_JUDGE, body("12"), "verifier"),
    (422, CONFIG | {"barrier": "step"}, body("12"), "group_size"),
    (413, CONFIG, body(*["12"] * 65), "MEMR_MAX_ITEMS"),
    (413, CONFIG, body("1" * 1000), "MEMR_MAX_TEXT_CHARS"),
]


@pytest.mark.parametrize(("status", "config", "sent", "remedy"), REFUSED)
def test_samples_that_cannot_be_verified_are_refused_with_a_remedy(client, caplog, status, config, sent, remedy):
    client.put("/runs/run", json=config)
    before = state(client)
    with caplog.at_level(logging.WARNING, "memr"):
        refused = client.post("/openrlhf/run", json=sent)
    assert refused.status_code == status
    assert remedy in refused.json()["remedy"]
    assert state(client) == before


def test_a_refusal_is_in_the_log_because_openrlhf_shows_none(client, caplog):
    with caplog.at_level(logging.WARNING, "memr"):
        client.post("/openrlhf/run", json=body("secret", label=""))
        client.post("/openrlhf/nobody", json=body("secret"))
    assert "--data.label_key" in caplog.text
    assert "There is no run 'nobody'" in caplog.text
    assert "secret" not in caplog.text


def test_half_a_surrogate_pair_is_named_in_the_response_and_in_the_log(client, caplog):
    with caplog.at_level(logging.WARNING, "memr"):
        sent = {"content": json.dumps(body("It is 12 \ud83d", "13")), "headers": {"Content-Type": "application/json"}}
        answer = client.post("/openrlhf/run", **sent).json()
    assert answer["scores"] == [1, 0]
    assert "query[0]:" in answer["warnings"][0]
    assert "query[0]:" in caplog.text


def test_an_unknown_run_is_404_and_not_created(client):
    assert client.post("/openrlhf/other", json=body("12")).status_code == 404
    assert client.get("/runs/other").status_code == 404


@pytest.mark.parametrize(
    "pattern", ["user", "(a)(b)", "(", "(a", "x" * 501, "", "(a{99999999999})", r"(\p{Nonsense})", 5]
)
def test_an_invalid_pattern_is_refused_when_the_run_is_created(client, pattern):
    refused = client.put("/runs/other", json={"prompt_pattern": pattern})
    assert refused.status_code == 422
    assert client.get("/runs/other").status_code == 404


def test_a_pattern_that_takes_too_long_is_refused(client, monkeypatch):
    monkeypatch.setattr(texts, "PATTERN_S", 0.05)
    client.put("/runs/slow", json=CONFIG | {"prompt_pattern": "((?:a|aa)+)c"})
    refused = client.post("/openrlhf/slow", json=body("12", prompt="a" * 60 + "bc"))
    assert refused.status_code == 422
    assert "repeats" in refused.json()["remedy"]


@pytest.mark.slow
def test_texts_that_take_too_long_together_are_refused_and_probes_are_answered_meanwhile(monkeypatch):
    monkeypatch.setattr(texts, "PATTERN_S", 60)  # none takes too long alone
    with TestClient(create_app(Settings(**SETTINGS, text_s=1))) as client:
        client.put("/runs/slow", json=CONFIG | {"prompt_pattern": "(a+)+b"})
        sent = body(*["12"] * 60) | {"prompts": [f"{'a' * 240}{number}" for number in range(60)]}
        answers, probes = [], 0
        asking = threading.Thread(target=lambda: answers.append(client.post("/openrlhf/slow", json=sent)))
        asking.start()
        while asking.is_alive():
            assert client.get("/livez").status_code == 200
            probes += 1
        asking.join()
        (refused,) = answers
        assert refused.status_code == 413
        assert "MEMR_TEXT_S" in refused.json()["remedy"]
        assert state(client, "slow")["position"] == 0
    assert probes > 5  # one or none if a probe waited for the texts


def test_a_caller_who_leaves_before_its_texts_are_judged_leaves_no_work(client, monkeypatch):
    judging, ended = threading.Event(), threading.Event()

    async def late(pool, run_id, verifier, completions, answers, seconds):
        judging.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def leave(request):
        while not judging.is_set():
            await asyncio.sleep(0.001)

    monkeypatch.setattr(VerifierPool, "outcomes", late)
    monkeypatch.setattr(disconnect, "_disconnected", leave)
    with pytest.raises(AssertionError, match="did not receive any response"):
        client.post("/openrlhf/run", json=body("12"))
    assert ended.is_set()
    assert len(client.app.state.context.abandoned) == 0


def test_a_run_whose_verifier_is_not_installed_is_not_created(client, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused = client.put("/runs/other", json={"verifier": "math"})
    assert refused.status_code == 422
    assert "pip install '.[math]' in a clone of memr" in refused.json()["remedy"]
    assert client.get("/runs/other").status_code == 404


# Busy: an error would end the training, waiting does not


@pytest.mark.parametrize("busy", [Overloaded("Full.", retry_after=0), Unavailable("Changed.", retry_after=0)])
def test_a_busy_service_is_waited_for(busy):
    tries = iter([busy, busy])

    class Busy(Service):
        async def reward(self, *args):
            if (refusal := next(tries, None)) is not None:
                refusal.retry_after = 0.01
                raise refusal
            return await super().reward(*args)

    settings = Settings(**SETTINGS)
    with TestClient(create_app(settings, Busy.open(settings))) as client:
        client.put("/runs/run", json=CONFIG)
        assert ask(client, body("12"))["scores"] == [1.0]


def test_waiting_for_a_busy_service_has_an_end(monkeypatch):
    class Busy(Service):
        async def reward(self, *args):
            raise Overloaded("Full.", retry_after=7)

    monkeypatch.setattr(patience, "PATIENCE_S", 0)
    settings = Settings(**SETTINGS)
    with TestClient(create_app(settings, Busy.open(settings))) as client:
        client.put("/runs/run", json=CONFIG)
        refused = client.post("/openrlhf/run", json=body("12"))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")


# Keys


def test_only_this_route_takes_the_key_in_its_address_and_the_log_does_not_show_it(tmp_path, caplog):
    entry = {"name": "trainer", "scope": "write", "sha256": hashlib.sha256(b"s3cret").hexdigest(), "runs": "r"}
    (tmp_path / "keys.json").write_text(json.dumps([entry]))
    with TestClient(create_app(Settings(**SETTINGS, keys_file=tmp_path / "keys.json"))) as client:
        client.put("/runs/run", json=CONFIG, headers={"X-API-Key": "s3cret"})
        with caplog.at_level(logging.INFO, "memr"):
            assert ask(client, body("12"), key="s3cret")["scores"] == [1.0]
            assert client.post("/openrlhf/run", json=body("12"), params={"key": "wrong"}).status_code == 401
            assert client.post("/openrlhf/run", json=body("12")).status_code == 401
            assert client.post("/openrlhf/other", json=body("12"), params={"key": "s3cret"}).status_code == 403
            assert client.get("/runs", params={"key": "s3cret"}).status_code == 401
    paths = [record.path for record in caplog.records if hasattr(record, "path")]
    assert "/openrlhf/run?key=REDACTED" in paths
    assert "s3cret" not in caplog.text + "".join(paths)


def test_a_run_that_does_not_exist_and_one_without_verifier_have_their_own_remedies(client):
    sample = {"query": ["q: 5"], "prompts": ["q: "], "labels": ["5"]}
    unknown = client.post("/openrlhf/none", json=sample)
    assert unknown.status_code == 404
    assert "PUT /runs/none" in unknown.json()["remedy"]
    assert "client.create_run('none'" in unknown.json()["remedy"]
    client.put("/runs/unjudged", json={})
    unjudged = client.post("/openrlhf/unjudged", json=sample)
    assert unjudged.status_code == 422
    assert "while the run has no records" in unjudged.json()["remedy"]


def test_a_label_without_a_number_is_named_with_its_place(client):
    client.put("/runs/numbers", json={"verifier": "numeric"})
    labels = [*map(str, range(17)), "five or six"]
    sample = {"query": ["q: 5"] * 18, "prompts": ["q: "] * 18, "labels": labels}
    refused = client.post("/openrlhf/numbers", json=sample).json()
    assert refused["detail"].startswith("labels[17] is 'five or six', in which `numeric` reads no number")
    assert refused["value"] == "five or six"
