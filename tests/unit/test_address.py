"""The service's address, and the proxy on the way to it."""

import sys

import pytest
from memr_client import AsyncRewardClient, InvalidRequest, RewardClient
from memr_client.address import checked_url, proxy_for, without_password

VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://memr:8000", "http://memr:8000"),
        (" http://memr:8000/ ", "http://memr:8000"),
        ("https://gateway/memr/", "https://gateway/memr"),
        ("HTTP://[::1]:8000", "HTTP://[::1]:8000"),
        ("http://gateway/rewards", "http://gateway/rewards"),
    ],
)
def test_an_address_may_have_a_path_and_spaces_around_it(given, kept):
    assert checked_url(given) == kept


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("http://memr:8000/reward", r"names the route /reward, .*'http://memr:8000'"),
        ("http://memr:8000/reward/", r"names the route /reward, .*'http://memr:8000'"),
        ("http://gateway/memr/runs/mine", r"names the route /runs/mine, .*'http://gateway/memr'"),
        ("http://memr:8000/openrlhf/mine", r"names the route /openrlhf/mine"),
        ("127.0.0.1:8000", r"must start with http://.*'127.0.0.1:8000'.*'http://127.0.0.1:8000'"),
        ("memr:8000", r"must start with http://.*'http://memr:8000'"),
        ("http://", "names no host"),
        ("http://memr:99999", "port 99999"),
        ("http://memr?run=x", "must end after its path"),
        ("http://memr:port", "is not valid"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_address_of_a_service_is_refused_in_words_with_the_value(given, says):
    for client in (RewardClient, AsyncRewardClient):
        with pytest.raises(InvalidRequest, match=f"(?s){says}") as caught:
            client(given)
        assert "\n" not in caught.value.in_one_line


def test_a_password_is_shown_nowhere():
    url = "http://me:secret@memr:8000"
    assert "secret" not in repr(RewardClient(url))
    with pytest.raises(InvalidRequest) as caught:
        RewardClient(f"{url}/reward")
    assert "secret" not in str(caught.value.document())
    assert without_password("redis://:p/w@host:6379/0") == "redis://:p/w@host:6379/0"  # not an address
    assert without_password("at redis://:secret@host/0.") == "at redis://:***@host/0."


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "memr.localhost", "[::1]", "0.0.0.0"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_goes_through_no_proxy(monkeypatch, host, variable):
    monkeypatch.setenv(variable, "socks5://proxy:9" if variable == "ALL_PROXY" else "http://proxy:9")
    assert proxy_for(f"http://{host}:8000") is None


@pytest.mark.parametrize(
    ("listed", "url", "direct"),
    [
        ("memr", "http://memr", True),
        ("example.org", "http://memr.example.org", True),
        (".example.org", "http://memr.example.org", True),
        ("*.example.org", "http://memr.example.org", True),
        ("example.org", "http://notexample.org", False),
        ("MEMR", "http://memr", True),
        ("other, memr ", "http://memr", True),
        ("memr:8000", "http://memr:8000", True),
        ("memr:8001", "http://memr:8000", False),
        ("memr:80", "http://memr", True),
        ("10.0.0.0/8", "http://10.1.2.3:8000", True),
        ("10.0.0.0/8", "http://11.1.2.3:8000", False),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.1.2.3:8000", "http://10.1.2.3:8000", True),
        ("fd00::/8", "http://[fd12::1]:8000", True),
        ("fd00::/8", "http://[fe80::1]:8000", False),
        ("[fd12::1]:8000", "http://[fd12::1]:8000", True),
        ("fd12::1", "http://[fd12::1]:8000", True),
        ("fd00::/8", "http://memr", False),
        ("*", "http://memr", True),
        ("", "http://memr", False),
        ("[, /8, :, 300.1.1.1/99", "http://memr", False),
    ],
)
def test_no_proxy_lists_hosts_ports_addresses_and_ranges(monkeypatch, listed, url, direct):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", listed)
    assert (proxy_for(url) is None) == direct


def test_the_proxy_of_the_scheme_comes_first_and_empty_variables_are_none(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("HTTP_PROXY", "")
    assert proxy_for("http://memr").url == "http://all:1"
    monkeypatch.setenv("HTTP_PROXY", "plain:2")
    assert proxy_for("http://memr").url == "http://plain:2"
    assert proxy_for("https://memr").url == "http://all:1"


def test_messages_name_the_proxy_and_its_variable_without_the_password(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@proxy:3128")
    proxy = proxy_for("http://memr")
    assert str(proxy) == "the proxy http://me:***@proxy:3128 (HTTP_PROXY)"
    assert "secret" not in repr(proxy)


def test_a_socks_proxy_without_its_package_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@proxy:1080")
    with pytest.raises(
        InvalidRequest, match=r"(?s)socks5://me:\*\*\*@proxy:1080 \(ALL_PROXY\).*httpx\[socks\].*NO_PROXY"
    ):
        RewardClient("http://memr", run="r").reward(["q"], ["a"], [1])


@pytest.mark.parametrize(
    "address", ["http://", "h:99999", "http://h:0", "http://me:sec ret@h:1", "http://me:sec/ret@h:1", "http://h h:1"]
)
def test_what_is_no_address_of_a_proxy_is_refused_without_its_password(monkeypatch, address):
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(InvalidRequest, match=r"\(HTTP_PROXY\) is not the address of a proxy(.|\n)*NO_PROXY") as caught:
        proxy_for("http://memr")
    assert "ret" not in str(caught.value).partition(" is not ")[0]


def test_a_port_is_1_to_65535():
    for port in (0, 65536):
        with pytest.raises(InvalidRequest, match=f"port {port}, but ports are 1 to 65535"):
            checked_url(f"http://memr:{port}")


def test_a_proxy_of_another_kind_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://proxy:70")
    with pytest.raises(InvalidRequest, match=r"gopher://proxy:70 \(HTTP_PROXY\) is not the address of a proxy"):
        RewardClient("http://memr", run="r").runs()
