"""Items of OpenAI's Responses form as chat messages."""

import pytest
from memr_client.schemas import chat_of, last_words


def said(text, **fields):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **fields}


def plain(messages):
    return [{name: value for name, value in message.model_dump().items() if value} for message in messages]


def test_a_text_is_a_question_and_instructions_are_the_systems():
    assert plain(chat_of("7 + 5?", "Think.")) == [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": "7 + 5?"},
    ]
    assert plain(chat_of("7 + 5?")) == [{"role": "user", "content": "7 + 5?"}]


def test_messages_keep_their_role_and_text_and_nothing_that_differs_between_equal_ones():
    asked = {"type": "message", "role": "user", "content": "7?", "id": "a"}
    items = [{"role": "developer", "content": "Think."}, asked]
    assert plain(chat_of(items)) == [{"role": "developer", "content": "Think."}, {"role": "user", "content": "7?"}]
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "7"}, {"type": "input_text", "text": "?"}]}]
    assert plain(chat_of(parts)) == [{"role": "user", "content": "7?"}]


def test_parts_that_are_no_texts_stay_in_a_prompt():
    parts = [{"type": "input_text", "text": "what is it?"}, {"type": "input_image", "image_url": "a"}]
    assert chat_of([{"role": "user", "content": parts}])[0].content == parts


def test_what_the_policy_writes_in_one_turn_is_one_message():
    items = [
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "7 and 5"}]},
        {"type": "function_call", "name": "add", "arguments": '{"a": 7}', "call_id": "c", "id": "f"},
        {"type": "function_call_output", "call_id": "c", "output": "12"},
        said("So:", id="m"),
        said("It is 12.", status="completed"),
    ]
    turn, tool, answer = chat_of(items)
    assert (turn.role, turn.text, turn.reasoning, turn.calls) == ("assistant", "", "7 and 5", 'add({"a": 7})')
    assert (tool.role, tool.text) == ("tool", "12")
    assert (answer.role, answer.text, answer.reasoning, answer.calls) == ("assistant", "So:\nIt is 12.", "", "")


def test_other_tools_are_calls_of_their_kind():
    (turn,) = chat_of([{"type": "web_search_call", "action": {"query": "7"}}, {"type": "compaction", "text": "x"}])
    assert turn.calls == 'web_search_call({"query": "7"})'


def test_the_last_words_are_the_assistants_without_its_thoughts():
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "13?"}], "summary": []}
    assert last_words(chat_of([said("11"), {"role": "user", "content": "Sure?"}, thought, said("12")])) == "12"
    assert last_words(chat_of([thought])) == ""
    assert last_words([]) == ""


def test_a_refusal_is_what_was_said():
    assert last_words(chat_of([said("")])) == ""
    refused = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert last_words(chat_of([refused])) == "No."


@pytest.mark.parametrize("items", [None, 7, {}, [], [None, 7, "text"], [{"type": "unknown"}]])
def test_what_is_no_item_says_nothing(items):
    assert chat_of(items) == []
