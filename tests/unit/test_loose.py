"""What schemas read in other forms, and the words for what they refuse."""

import pytest
from memr_client.schemas import Explain, Message, RewardRequest, RunConfig, distinct, phase_of, refusal
from pydantic import ValidationError

BATCH = {"run_id": "r", "prompts": ["q", "q"], "completions": ["a", "b"], "outcomes": [1, 0]}


def read(**columns):
    return RewardRequest.model_validate({**BATCH, **columns})


@pytest.mark.parametrize(
    ("columns", "as_read"),
    [
        ({"outcomes": [True, False]}, [1.0, 0.0]),
        ({"outcomes": [0.5, True]}, [0.5, 1.0]),
        ({"prompt_ids": [7, "8"]}, ["7", "8"]),
        ({"group_ids": [7.0, 2**60]}, ["7", str(2**60)]),
        ({"answers": [42, 0.5]}, ["42", "0.5"]),
        ({"answers": [-3.0, None]}, ["-3", None]),
        ({"labels": [1, None]}, ["1", None]),
        ({"index": [0.0, 1]}, [0, 1]),
        ({"truncated": [1, False]}, [True, False]),
        ({"step": 3.0}, 3),
        ({"run_id": 7}, "7"),
        ({"request_id": 7}, "7"),
    ],
)
def test_a_value_that_can_mean_one_thing_only_is_read_as_that(columns, as_read):
    ((name, _),) = columns.items()
    value = getattr(read(**columns), name)
    assert value == as_read
    assert str(value) == str(as_read)  # True is no 1.0 here


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"outcomes": [0, None]}, "outcomes[1] is null, but must be a number."),
        ({"outcomes": [0, "1"]}, "outcomes[1] is a text, but must be a number."),
        ({"outcomes": [0, float("nan")]}, "outcomes[1] is nan, but must be a finite number."),
        ({"outcomes": None}, "outcomes is null, but must be a list with one entry for each completion."),
        ({"outcomes": 1.0}, "outcomes is 1, but must be a list with one entry for each completion."),
        ({"prompts": "q"}, "prompts is a text, but must be a list with one entry for each completion."),
        ({"prompt_ids": "q"}, "prompt_ids is a text, but must be a list with one entry for each completion."),
        ({"prompt_ids": [True, "b"]}, "prompt_ids[0] is true, but must be a text."),
        ({"prompt_ids": [0.5, "b"]}, "prompt_ids[0] is 0.5, but must be a text."),
        ({"prompts": ["q", 5]}, "prompts[1] is 5, but must be a text or a list of chat messages."),
        ({"prompts": ["q", ["hi"]]}, "prompts[1][0] is a text, but must be an object with role and content."),
        ({"prompts": ["q", [{"content": "hi"}]]}, "prompts[1][0].role is missing."),
        ({"step": 3.5}, "step is 3.5, but must be a whole number."),
        ({"step": True}, "step is true, but must be a whole number."),
        ({"step": -1}, "step is -1, but must be at least 0."),
        ({"mode": "test"}, "mode is 'test', but must be 'train' or 'eval'."),
        ({"steps": 3}, "there is no field 'steps'."),
        (
            {"completions": ["a", [{"role": "assistant", "content": 5}]]},
            "completions[1][0].content is 5, but must be a text or a list.",
        ),
        (
            {"completions": ["a", [{"role": "assistant", "content": [5]}]]},
            "completions[1][0].content[0] is 5, but must be an object.",
        ),
        ({"request_id": ""}, "request_id is a text, but must be 1 to 128 printable ASCII characters."),
        ({"part": 3, "parts": 2}, "part 3 of 2: parts are numbered from 0 to 1."),
    ],
)
def test_everything_else_is_refused_in_words_with_the_place_and_the_value(columns, says):
    with pytest.raises(ValidationError) as caught:
        read(**columns)
    (error,) = distinct(caught.value.errors())
    refused = refusal(error)
    assert refused.says == says
    assert refused.limit


@pytest.mark.parametrize(
    ("columns", "value", "remedy"),
    [
        ({"outcomes": [1, "1"]}, "1", 'Send the number 1, not the text "1".'),
        ({"outcomes": [1, "right"]}, "right", "Send a number, for example 1 for right and 0 for wrong."),
        ({"outcomes": [1, None]}, "null", "Leave out completions that have no outcome."),
        ({"outcomes": [1, "nan"]}, "nan", "Send a number, for example 1 for right and 0 for wrong."),
        ({"step": "3"}, "3", 'Send the number 3, not the text "3".'),
        ({"prompt_ids": [0.5, "b"]}, 0.5, 'Send the text "0.5", not the number.'),
        ({"mode": "test"}, "test", "Did you mean 'eval'?"),
        ({"mode": "Training"}, "Training", "Did you mean 'train'?"),
        ({"outcome": [1]}, "outcome", "Did you mean 'outcomes'?"),
        ({"outcomes": [1, 0, 1], "completions": ["a"]}, {"completions": 1, "outcomes": 3}, None),
        ({"embeddings": {"prompts": []}}, "only prompts", None),
        ({"part": 0}, {"part": 0, "parts": None}, None),
    ],
)
def test_a_refusal_gives_what_was_sent_and_what_to_do(columns, value, remedy):
    with pytest.raises(ValidationError) as caught:
        read(**columns)
    refused = refusal(distinct(caught.value.errors())[0])
    assert (refused.value, refused.remedy) == (value, remedy)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"components": {"exploit": "x"}}, "components.exploit is a text, but must be a number or an object."),
        ({"components": {"exploit": {"weight": "x"}}}, "components.exploit.weight is a text, but must be a number."),
        (
            {"components": {"exploit": {"centroids": 0}}},
            "components.exploit.centroids is 0, but must be at least 1 or 'all'.",
        ),
        ({"components": {}}, "components has 0 entries, but must have at least 1 entry."),
        ({"components": {"exploit": {"guards": {"topic_floor": 5}}}},
         "components.exploit.guards.topic_floor is 5, but must be at most 1."),
        ({"encoder": ""}, "encoder has 0 characters, but must have at least 1 character."),
        ({"reasoning_tags": ["a", "a"]}, "reasoning_tags must be two different, non-empty tags."),
    ],
)  # fmt: skip
def test_places_are_named_as_the_caller_wrote_them(fields, says):
    with pytest.raises(ValidationError) as caught:
        RunConfig(**fields)
    (error,) = distinct(caught.value.errors())
    assert refusal(error).says == says


def test_a_name_that_is_no_component_is_refused_with_those_that_are():
    with pytest.raises(ValidationError) as caught:
        RunConfig(components={"explor": 1})
    refused = refusal(distinct(caught.value.errors())[0])
    assert refused.says.startswith("components names 'explor', but a name there must be 'exploit', 'explore'")
    assert refused.remedy == "Did you mean 'explore'?"


def test_chats_in_from_value_form_are_the_same_prompts():
    given = {"from": "human", "value": "2 + 2?", "weight": 1}
    assert Message.model_validate(given) == Message(role="user", content="2 + 2?", weight=1)
    assert Message.model_validate({"from": "gpt", "value": "4"}).role == "assistant"
    assert Message.model_validate({"from": "system", "value": "Add."}).role == "system"
    kept = Message.model_validate({"role": "user", "content": "q", "from": "x", "value": "y"})
    assert (kept.role, kept.content) == ("user", "q")


def test_texts_among_the_parts_of_a_content_are_parts():
    message = Message.model_validate({"role": "user", "content": ["2 + ", {"type": "text", "text": "2?"}]})
    assert message.text == "2 + 2?"


def test_a_name_that_is_refused_comes_with_one_that_is_not():
    for given, near in (("my/run", "my-run"), ("my run", "my-run"), ("..a", "a")):
        with pytest.raises(ValidationError) as caught:
            read(run_id=given)
        refused = refusal(distinct(caught.value.errors())[0])
        assert repr(given) in refused.says
        assert repr(near) in refused.remedy
        assert read(run_id=near).run_id == near


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"presett": "guarded"}, "did you mean 'preset'"),
        ({"preset": "memory_r+"}, r"Did you mean 'memory-r\+'\?"),
        ({"components": {"exploit": {"wieght": 1}}}, "there is no field 'wieght': did you mean 'weight'"),
        ({"memory": {"decay": 3}}, "'decay'.*'decay_steps'"),
    ],
)
def test_misspelt_fields_suggest_the_nearest_name_without_a_link(fields, says):
    with pytest.raises(ValidationError, match=says) as caught:
        RunConfig(**fields)
    assert "http" not in str(caught.value)


def test_whole_floats_are_whole_numbers_in_every_body():
    assert RunConfig(k=5.0, max_prompts=10.0).k == 5
    assert Explain(position=3.0, item=0.0).position == 3
    assert Explain(prompt="q", completion="a", prompt_id=7).prompt_id == "7"


@pytest.mark.parametrize(
    ("split", "phase"),
    [
        ("train", "train"), ("Training", "train"), ("gsm8k-train", "train"), ("train_small", "train"),
        ("test", "eval"), (" test", "eval"), ("Validation", "eval"), ("test_easy", "eval"), ("DEV", "eval"),
        ("aime24", None), ("math500", None), ("train_test", None), ("latest", None), ("", None), (3, None),
    ],
)  # fmt: skip
def test_splits_are_known_by_the_words_in_their_names(split, phase):
    assert phase_of(split) == phase
