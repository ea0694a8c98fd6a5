"""`POST /reward` as people write it by hand: what is unambiguous is accepted, everything else refused in words."""

import pytest
from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient

BATCH = {
    "run_id": "run",
    "prompts": ["2 + 2 = ?"] * 4,
    "completions": ["It is 4", "It is 5", "4, I think", "It is 22"],
    "outcomes": [1, 0, 1, 0],
}
CONFIG = {"explore_warmup_steps": 0, "barrier": "none"}


@pytest.fixture
def client():
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as client:
        yield client


def scored(client, run="run", **columns):
    client.put(f"/runs/{run}", json=CONFIG)
    response = client.post("/reward", json={**BATCH, "run_id": run, **columns})
    assert response.status_code == 200, response.text
    return response.json()


def chats(opening, **names):
    role, content = names.get("role", "role"), names.get("content", "content")
    return [[{role: opening, content: text}] for text in BATCH["prompts"]]


@pytest.mark.parametrize(
    ("loose", "strict"),
    [
        ({"outcomes": [True, False, True, False]}, {}),
        ({"outcomes": [1.0, False, 1, 0]}, {}),
        ({"step": 3.0}, {"step": 3}),
        ({"prompt_ids": [7, 7, 7, 7]}, {"prompt_ids": ["7"] * 4}),
        ({"group_ids": [1, 1.0, 2, 2]}, {"group_ids": ["1", "1", "2", "2"]}),
        ({"answers": [4, 5, 4.0, 22], "labels": [0, 1, None, 1]},
         {"answers": ["4", "5", "4", "22"], "labels": ["0", "1", None, "1"]}),
        ({"truncated": [0, 1, 0, 0]}, {"truncated": [False, True, False, False]}),
        ({"index": [0.0, 1, 2, 3]}, {"index": [0, 1, 2, 3]}),
        ({"prompts": chats("human", role="from", content="value")}, {"prompts": chats("user")}),
    ],
)  # fmt: skip
def test_loose_bodies_are_the_strict_ones(client, loose, strict):
    answers = [scored(client, run, **columns) for run, columns in (("loose", loose), ("strict", strict))]
    assert answers[0]["rewards"] == answers[1]["rewards"]
    assert answers[0]["chain"] == answers[1]["chain"]


def test_a_retry_in_another_form_is_the_same_request(client):
    first = scored(client, step=3.0, outcomes=[True, False, True, False], request_id="once")
    again = client.post("/reward", json={**BATCH, "step": 3, "request_id": "once"})
    assert again.json() == first
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"outcomes": [0, None, 1, 1]}, "outcomes[1] is null, but must be a number."),
        ({"outcomes": None}, "outcomes is null, but must be a list with one entry for each completion."),
        ({"outcomes": 1}, "outcomes is 1, but must be a list with one entry for each completion."),
        ({"outcomes": ["1", 0, 1, 1]}, "outcomes[0] is a text, but must be a number."),
        ({"prompts": "2 + 2 = ?"}, "prompts is a text, but must be a list with one entry for each completion."),
        ({"answers": "4"}, "answers is a text, but must be a list with one entry for each completion."),
        ({"prompt_ids": [True] * 4}, "prompt_ids[0] is true, but must be a text."),
        ({"completions": [4, 5, 4, 22]}, "completions[0] is 4, but must be a text or a list of chat messages."),
        ({"step": "3"}, "step is a text, but must be a whole number."),
        ({"step": 3.5}, "step is 3.5, but must be a whole number."),
        ({"run_id": "my/run"}, "run_id is 'my/run', but a name is a letter or digit"),
        ({"outcome": [1, 0, 1, 0]}, "there is no field 'outcome'."),
    ],
)
def test_everything_else_is_refused_in_words_and_changes_nothing(client, columns, says):
    before = scored(client)["chain"]
    response = client.post("/reward", json={**BATCH, **columns})
    document = response.json()
    assert response.status_code == 422
    assert document["detail"].startswith(says)
    assert document["limit"]
    assert document["remedy"]
    assert client.get("/runs/run").json()["chain"] == before


def test_a_conflict_shows_both_values(client):
    scored(client)
    document = client.put("/runs/run", json={**CONFIG, "k": 5}).json()
    assert document["detail"] == "Run 'run' exists with another config: k is 1, not 5."
    assert (document["value"], document["limit"]) == ({"k": 5}, {"k": 1})


def test_a_prompt_without_content_is_warned_of_like_a_completion(client):
    said = scored(client, prompts=[[{"role": "user"}]] * 4)["warnings"]
    assert any("Nothing was read of prompts[0], prompts[1], prompts[2], prompts[3]" in one for one in said)
    assert not any("Nothing was read" in one for one in scored(client)["warnings"])


@pytest.mark.parametrize(("barrier", "refused"), [("group", True), ("snapshot", False), ("none", False)])
def test_completions_that_make_no_whole_group_are_refused_at_once(client, barrier, refused):
    client.put("/runs/grouped", json={"barrier": barrier, "group_size": 3, "preset": "memory-r+"})
    response = client.post("/reward", json={**BATCH, "run_id": "grouped"})
    assert response.status_code == (422 if refused else 200)
    if refused:
        assert response.json()["detail"].startswith("4 completions of one prompt, but group_size is 3;")
        assert (response.json()["value"], response.json()["limit"]) == (4, 3)
    whole = {"prompts": ["q"] * 6, "completions": ["a"] * 6, "outcomes": [1] * 6, "run_id": "grouped"}
    assert client.post("/reward", json=whole).status_code == 200


def test_a_request_without_items_creates_no_run(client):
    empty = client.post("/reward", json={"run_id": "none", "prompts": [], "completions": [], "outcomes": []})
    assert (empty.status_code, empty.json()["rewards"], empty.json()["position"]) == (200, [], 0)
    assert client.get("/runs").json()["runs"] == []
