"""A server's settings: read from options and environment, refused in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from memr_client.errors import InvalidRequest
from memr_client.verl.options import OF_THE_RUN, Options
from memr_service.settings import CLIENT_VARIABLES, Settings, load, unknown_variables

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MEMR_PORT", "tcp://10.0.0.1:8000", "MEMR_PORT is 'tcp://10.0.0.1:8000'"),
        ("MEMR_PORT", "tcp://10.0.0.1:8000", "enableServiceLinks: false"),
        ("MEMR_ADDRESS", "http://$(POD_IP):8000", "it should be http://host:port"),
        ("MEMR_ADDRESS", "http://:8000", "it should be http://host:port"),
        ("MEMR_ADDRESS", "10.0.0.1:8000", "it should be http://host:port"),
        ("MEMR_ADDRESS", "redis://10.0.0.1:8000", "it should be http://host:port"),
        ("MEMR_ADDRESS", "http://10.0.0.1:8000/base", "it should be http://host:port"),
        ("MEMR_ADDRESS", "http://fd00::1:8000", "it should be http://host:port"),
        ("MEMR_ADDRESS", "http://10.0.0.1:99999", "it should be http://host:port"),
        ("MEMR_PORT", "70000", "less than or equal to 65535"),
        ("MEMR_DEFAULT_PRESET", "memoryr", "Did you mean memory-r?"),
        ("MEMR_DEVICE", "gpu", "'auto', 'cpu' or 'cuda'"),
        ("MEMR_AUDITS", "{bad", "it should be a JSON object such as"),
        ("MEMR_AUDITS", "[" * 100_000, "it should be a JSON object such as"),
        ("MEMR_AUDITS", "[]", "it should be a JSON object such as"),
        ("MEMR_AUDITS", '{"widow": 1}', "no setting MEMR_AUDITS.widow"),
        ("MEMR_AUDITS", '{"window": 0}', "MEMR_AUDITS.window is 0"),
        ("MEMR_AUDITS", '{"length_short": [0.6]}', "MEMR_AUDITS.length_short"),
        ("MEMR_KEYS_FILE", "", "it should name a file"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidRequest, match=re.escape(says)) as refused:
        load()
    assert variable in refused.value.detail
    assert "pydantic" not in str(refused.value)
    assert refused.value.limit
    assert refused.value.remedy
    assert "widow" not in value or refused.value.remedy == "Leave it out. Did you mean window?"


@pytest.mark.parametrize(
    ("given", "says"), [({"port": 70_000}, "port is 70000"), ({"preset": "x"}, "Did you mean default_preset?")]
)
def test_a_wrong_option_is_named_as_it_was_given(given, says):
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        load(**given)


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    for name in ("PORT", "STORE", "ENCODER", "DEVICE", "INSECURE", "AUDITS", "DEFAULT_PRESET", "DRAIN_S"):
        monkeypatch.setenv(f"MEMR_{name}", "")
    assert load() == Settings()
    assert load().port == 8000
    monkeypatch.setenv("MEMR_ENCODERS", "")
    assert load().encoders == ()


def test_a_tilde_is_the_home_directory_and_brackets_are_no_part_of_an_address(monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("MEMR_KEYS_FILE", "~/keys.json")
    monkeypatch.setenv("MEMR_ENCODERS", "~/model, hashed")
    settings = load(host="[::1]", encoder="~/other")
    assert settings.keys_file == Path("/home/alice/keys.json")
    assert settings.encoders == ("/home/alice/model", "hashed")
    assert (settings.host, settings.encoder) == ("::1", "/home/alice/other")


def test_variables_that_nothing_reads_are_named_with_the_nearest():
    warnings = list(unknown_variables(["PATH", "MEMR_PRESET", "MEMR_STOER", "MEMR_QQQ", "MEMR_URL", "memr_port"]))
    assert [warning.partition(" is ignored")[0] for warning in warnings] == ["MEMR_PRESET", "MEMR_QQQ", "MEMR_STOER"]
    assert "MEMR_DEFAULT_PRESET?" in warnings[0]
    assert "mean" not in warnings[1]
    assert "MEMR_STORE?" in warnings[2]


def test_every_variable_of_the_clients_is_known():
    sources = [path.read_text() for path in (ROOT / "client").rglob("*.py")]
    used = {name for source in sources for name in re.findall(r"MEMR_([A-Z_]+[A-Z])", source)}
    used |= {name.upper() for name in Options.model_fields.keys() - OF_THE_RUN}
    assert used <= {*CLIENT_VARIABLES, *(name.upper() for name in Settings.model_fields)}
