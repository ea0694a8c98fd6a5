"""`/nemo-gym/{run_id}/...`: the protocol, as recorded bodies of nemo-gym 0.7.0 have it, groups, errors and keys."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from memr_service.app import create_app
from memr_service.app.judging import Outcomes, VerifierPool
from memr_service.cli.rollouts import read
from memr_service.settings import Settings
from starlette.testclient import TestClient
from support.keys import keys_file
from support.real_data import nemo_gym_aggregates, nemo_gym_rollouts

SETTINGS = {"store": "memory:", "encoder": "hashed", "preload": False, "max_text_chars": 1000}
CONFIG = {"verifier": "numeric", "explore_warmup_steps": 0}
OURS = {"reward", "reward_components", "mask_sample", "failure_kind", "failure_reason"}


def rollout(text="It is 12.", n=0, answer="12", question="What is 7 + 5?", **task):
    """The body of `/verify`."""
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return {
        "responses_create_params": {"input": [{"role": "user", "content": question}]},
        "expected_answer": answer,
        "response": {"id": f"resp_{n}", "output": [said]},
        **task,
    }


def asked(row):
    """The body that NeMo Gym's agent sent, of a row of its rollouts."""
    added = OURS | {"agent_ref", "_ng_environment_server", "_ng_result_type"}
    return {name: value for name, value in row.items() if name not in added and not name.startswith("memr_")}


@pytest.fixture
def client():
    with TestClient(create_app(Settings(**SETTINGS))) as client:
        assert client.put("/runs/run", json=CONFIG).status_code == 201
        yield client


def verify(client, body, run="run"):
    response = client.post(f"/nemo-gym/{run}/verify", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def state(client, run="run"):
    return client.get(f"/runs/{run}?digest=1").json()


def test_the_task_comes_back_with_its_reward_and_the_same_numbers_every_time(client):
    bodies = [rollout(text, n, _ng_task_index=3, difficulty="easy") for n, text in enumerate(["12", "13", "12 it is"])]
    answers = [verify(client, body) for body in bodies]
    for body, answer in zip(bodies, answers, strict=True):
        assert {name: answer[name] for name in body} == body
        assert answer.keys() == answers[0].keys()
        assert answer["reward"] == pytest.approx(sum(answer["reward_components"].values()))
        numbers = [value for name, value in answer.items() if name.startswith("memr_")]
        assert numbers
        assert all(type(value) is float for value in [*numbers, *answer["reward_components"].values()])
    assert [answer["reward_components"]["outcome"] for answer in answers] == [1, 0, 1]
    assert answers[2]["memr_support_success"] == 1
    assert not any(answer["mask_sample"] for answer in answers)


def test_recorded_rollouts_wait_for_their_groups_and_earn_what_was_recorded(client):
    client.put("/runs/recorded", json=CONFIG | {"preset": "attempts", "barrier": "group", "group_size": 4})
    rows = nemo_gym_rollouts()
    with ThreadPoolExecutor(4) as pool:
        for at in range(0, len(rows), 4):
            group = rows[at : at + 4]
            answers = list(pool.map(lambda row: verify(client, asked(row), "recorded"), group))
            assert [answer["reward"] for answer in answers] == pytest.approx([row["reward"] for row in group], abs=1e-5)
    found = state(client, "recorded")  # the third group is of the split test; equal completions are one
    assert (found["position"], found["memory"]["success"]["completions"]) == (2, 2)


def test_what_one_group_earns_is_what_reward_gives_for_the_same(client):
    client.put("/runs/grouped", json=CONFIG | {"barrier": "group", "group_size": 4})
    client.put("/runs/plain", json=CONFIG)
    texts = ["It is 12.", "Twelve, or 12", "13", "I say 7 + 5 = 11"]
    for step in range(2):
        bodies = [rollout(text, 4 * step + n, _ng_group_id="g", _ng_group_attempt=step, _ng_rollout_index=n)
                  for n, text in enumerate(texts)]  # fmt: skip
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda body: verify(client, body, "grouped"), bodies))
        sent = {
            "prompts": [[{"role": "user", "content": "What is 7 + 5?"}]] * 4,
            "completions": [[{"role": "assistant", "content": text}] for text in texts],
            "outcomes": [1, 1, 0, 0],
        }
        plain = client.post("/reward", json={"run_id": "plain", **sent}).json()
    assert [answer["memr_memory_reward"] for answer in answers] == pytest.approx(plain["rewards"])
    assert [answer["memr_exploit"] for answer in answers] == pytest.approx(plain["components"]["exploit"]["raw"])
    assert any(plain["rewards"])


def test_the_memorys_share_is_weighted(client):
    client.put("/runs/half", json=CONFIG | {"memory_weight": 0.5})
    for n, text in enumerate(["12", "13", "so 12", "or 11"]):
        answer = verify(client, rollout(text, n, equal_spread=1.0), "half")
        assert answer["reward_components"]["memory"] == 0.5 * answer["memr_memory_reward"]


def test_a_rollout_that_is_sent_again_counts_once_and_an_equal_one_does_not(client):
    first = verify(client, rollout("12", 1))
    assert verify(client, rollout("12", 1)) == first
    assert state(client)["position"] == 1
    verify(client, rollout("12", 2))
    nameless = rollout("12")
    nameless["response"]["id"] = None
    verify(client, nameless)
    verify(client, nameless)
    assert state(client)["position"] == 4


@pytest.mark.parametrize("task", [{"split": "test"}, {"verifier_metadata": {"split": "validation"}}, {"split": "odd"}])
def test_evaluations_are_read_and_not_remembered(client, task):
    verify(client, rollout("12", 1))
    before = state(client)
    assert verify(client, rollout("It is 12", 2, **task))["memr_support_success"] == 1
    assert state(client) == before


@pytest.mark.parametrize("answer", ["12", 12, 12.0, ["12"], "7 + 5 = 12\n#### 12"])
def test_the_right_answer_is_a_text_a_number_or_a_list_of_one(client, answer):
    assert verify(client, rollout(answer=answer))["memr_outcome"] == 1
    metadata = {"expected_answer": answer}
    assert verify(client, rollout(n=1, answer=None, verifier_metadata=metadata))["memr_outcome"] == 1


def test_the_last_words_are_judged_and_a_turn_of_tools_is_remembered(client):
    body = rollout("12")
    body["response"]["output"][:0] = [
        {"type": "function_call", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "output": "13"},
    ]
    assert verify(client, body)["memr_outcome"] == 1
    (stored,) = client.get("/runs/run/completions").json()["rows"]
    assert "add" in stored["completion"]


def test_what_is_not_judged_in_time_is_masked(client, monkeypatch):
    async def late(*args):
        return Outcomes([0.0], [True])

    monkeypatch.setattr(VerifierPool, "outcomes", late)
    answer = verify(client, rollout())
    assert (answer["mask_sample"], answer["failure_kind"], answer["memr_unjudged"]) == (True, "verifier_error", 1)
    assert "MEMR_VERIFIER_S" in answer["failure_reason"]


def test_sessions_are_confirmed_and_keep_nothing(client):
    before = state(client)
    for route in ("seed_session", "close_session"):
        assert client.post(f"/nemo-gym/run/{route}", json=rollout()).json() == {}
        body = {"resources_session_id": "s", "episode_id": {"a": 1}}
        assert client.post(f"/nemo-gym/run/{route}", json=body).json() == {"resources_session_id": "s"}
    assert state(client) == before


def test_a_session_of_a_run_that_cannot_verify_is_refused_before_anything_is_sampled(client):
    client.put("/runs/unjudged", json={})
    client.put("/runs/steps", json={"verifier": "numeric", "barrier": "step"})
    for run, says in (("unjudged", "no verifier"), ("steps", "barrier 'step'")):
        for route in ("seed_session", "verify"):
            refused = client.post(f"/nemo-gym/{run}/{route}", json=rollout())
            assert refused.status_code == 422
            assert says in refused.json()["detail"]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (422, {}, "responses_create_params"),
        (422, rollout(answer=None), "expected_answer has no answer"),
        (422, rollout(answer="twelve"), "expected_answer is 'twelve'"),
        (422, rollout(answer=["12", "13"]), "2 answers that differ"),
        (422, rollout() | {"response": {"output": "12"}}, "response"),
        (422, rollout(_ng_rollout_index=-1), "_ng_rollout_index"),
        (422, rollout() | {"responses_create_params": {"input": []}}, "prompts[0]"),
        (413, rollout("x" * 1001), "completions[0] has too many characters"),
    ],
)
def test_bad_rollouts_are_refused_with_what_is_wrong_and_change_nothing(client, status, body, says):
    refused = client.post("/nemo-gym/run/verify", json=body)
    assert refused.status_code == status
    assert says in refused.json()["detail"]
    assert state(client)["position"] == 0


@pytest.mark.parametrize("route", ["verify", "seed_session", "close_session", "aggregate_metrics"])
def test_an_unknown_run_is_told_how_to_create_it(client, route):
    body = rollout() | {"verify_responses": []}
    refused = client.post(f"/nemo-gym/nobody/{route}", json=body)
    assert refused.status_code == 404
    assert "PUT /runs/nobody" in refused.json()["remedy"]


def test_verifying_again_is_for_runs_without_a_memorys_share(client):
    client.put("/runs/outcomes", json=CONFIG | {"memory_weight": 0})
    assert client.get("/nemo-gym/run/reverify_mode").json() == "unsupported"
    assert client.get("/nemo-gym/outcomes/reverify_mode").json() == "stateless"


def test_statistics_are_those_of_nemo_gyms_own_code(client):
    body = {"verify_responses": nemo_gym_rollouts()}
    found, theirs = client.post("/nemo-gym/run/aggregate_metrics", json=body).json(), nemo_gym_aggregates()
    left_out = "_across_repeats/"  # NeMo Gym also has these
    named = {name for name in theirs["agent_metrics"] if left_out not in name}
    assert found["agent_metrics"].keys() == named
    assert found["key_metrics"] == pytest.approx(theirs["key_metrics"])
    assert found["agent_metrics"] == pytest.approx({name: theirs["agent_metrics"][name] for name in named})
    for level in ("group_level_metrics", "repeat_level_metrics"):
        for ours, own in zip(found[level], theirs[level], strict=True):
            assert ours == pytest.approx({name: own[name] for name in ours})


def test_masked_rollouts_do_not_count(client):
    rows = [
        {"_ng_task_index": 0, "_ng_rollout_index": 0, "reward": 1.0},
        {"_ng_task_index": 0, "_ng_rollout_index": 1, "reward": 0.0, "mask_sample": True},
        {"_ng_task_index": 1, "_ng_rollout_index": 0, "reward": 0.0, "mask_sample": True},
    ]
    found = client.post("/nemo-gym/run/aggregate_metrics", json={"verify_responses": rows}).json()
    assert found["key_metrics"] == {
        "mean/reward": 1.0, "coverage/measured_rollouts": 1, "coverage/masked_rollouts": 2,
        "coverage/measured_tasks": 1, "coverage/fully_masked_tasks": 1,
    }  # fmt: skip
    assert client.post("/nemo-gym/run/aggregate_metrics", json={"verify_responses": []}).json()["agent_metrics"] == {}
    wrong = client.post("/nemo-gym/run/aggregate_metrics", json={"verify_responses": [{"_ng_task_index": "x"}]})
    assert wrong.status_code == 422


def test_a_key_may_be_the_password_of_the_address(tmp_path):
    keys, key = keys_file(tmp_path, name="gym", scope="write")
    with TestClient(create_app(Settings(**SETTINGS, keys_file=keys))) as client:
        client.put("/runs/run", json=CONFIG, headers={"X-API-Key": key})

        def answered(path, header):
            return client.post(path, json=rollout(), headers={"Authorization": header}).status_code

        known, wrong = ("Basic " + base64.b64encode(f"memr:{one}".encode()).decode() for one in (key, "WRONG"))
        assert answered("/nemo-gym/run/verify", known) == 200
        assert answered("/openrlhf/run", known) == 401
        for header in (wrong, "Basic ???", "Basic", "Basic //8=", ""):
            assert answered("/nemo-gym/run/verify", header) == 401


def test_a_file_of_rollouts_is_read_in_the_order_of_its_tasks(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in nemo_gym_rollouts()), "utf-8")
    found = list(read(path))
    questions = ("What is 7 + 5?", "What is 6 + 6?", "What is 5 + 8?")
    assert [one.prompt[0].text for one in found] == [question for question in questions for _ in range(4)]
    assert [sum(one.outcome for one in found[at : at + 4]) for at in (0, 4, 8)] == [2, 2, 1]
    assert all(one.completion[0].text.startswith("It must be") for one in found)
