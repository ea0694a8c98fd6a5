"""What a shell command names must exist, also where it is not run: targets, files, options, variables, fields."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from memr_client.schemas import RewardRequest, RunConfig
from memr_client.verl.options import Options
from memr_service.cli import commands as cli
from memr_service.settings import Settings
from typer.models import OptionInfo

from docs.generate.cli import every_command, parameters

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"(?:benchmarks|client|docker|docs|examples|service|tests)/[\w./-]+")
"""A path of the repository."""
ENDS = "\n;|&()<>"
"""Characters that end a command."""


@cache
def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def memr_commands() -> dict[str, set[str]]:
    """Command of memr -> its options."""
    return {
        name.removeprefix("memr "): {
            option
            for one in parameters(function)
            if isinstance(one.info, OptionInfo)
            for option in re.findall(r"`(.*?)`", one.shown)
        }
        | {"--help", "-h"}
        for name, function in every_command("memr", cli.app)
    }


def check(text: str) -> None:
    """Raise AssertionError where a command of a shell block names what does not exist."""
    for words in _commands(text):
        _check_places(words)
        while words and re.fullmatch(r"\+?[\w.]+=.*", words[0], re.DOTALL):
            _check_assignment(words.pop(0))
        match words:
            case ["make", *rest]:
                named = [word for word in rest if "=" not in word and not word.startswith("-")]
                assert set(named) <= targets(), f"there is no target {named}"
            case ["memr", *rest]:
                _check_memr(rest)
            case ["docker", "compose", *rest]:
                _check_compose(rest)
            case ["python" | "python3", *rest]:
                _check_python(rest)
            case ["curl", *rest]:
                _check_curl(rest)


def _commands(text: str) -> Iterator[list[str]]:
    """The words of each command, without comments."""
    plain = re.sub(r"(?m)(^|\s)#.*$", r"\1", text.replace("\\\n", " "))
    lexer = shlex.shlex(plain, posix=True, punctuation_chars=ENDS)
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set(ENDS):
            if words:
                yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words


def _check_places(words: list[str]) -> None:
    for word in words:
        for place in PLACE.findall(word):
            if word.startswith((place, f"./{place}")):
                assert (ROOT / place).exists(), f"there is no {place}"
        for module in re.findall(r"pkg://([\w.]+)|(?<!pkg://)\b(memr_(?:client|service)\.[\w.]+)", word):
            _check_module("".join(module))


def _check_module(name: str) -> None:
    """A dotted name of ours is a module, or a name that its module's file holds."""
    module = name.partition(":")[0]
    at = ROOT / ("client" if module.startswith("memr_client") else "service") / module.replace(".", "/")
    if at.with_suffix(".py").exists() or at.is_dir():
        return
    file = at.parent.with_suffix(".py") if at.parent.with_suffix(".py").exists() else at.parent / "__init__.py"
    assert file.exists(), f"there is no module {name}"
    assert re.search(rf"\b(?:class|def|import) .*\b{at.name}\b|^{at.name}\b", file.read_text(), re.MULTILINE), name


def _check_assignment(word: str) -> None:
    name, _, value = word.partition("=")
    if name.startswith("MEMR_"):
        field = name.removeprefix("MEMR_").lower()
        assert field in {*Settings.model_fields, *Options.model_fields, "api_key"}, f"there is no setting {name}"
    if found := re.fullmatch(r"\+?reward\.reward_kwargs\.memr\.(\w+)(?:\.(\w+))?", name):
        assert found[1] in Options.model_fields, name
        assert found[2] is None or found[2] in RunConfig.model_fields, name
    if value.endswith(".yaml") or value.endswith(".yml"):
        assert (ROOT / value).exists(), value


def _check_memr(words: list[str]) -> None:
    if not words or words[0].startswith("-"):
        return
    name = next((" ".join(words[:length]) for length in (3, 2, 1) if " ".join(words[:length]) in memr_commands()), None)
    assert name is not None, f"there is no command memr {' '.join(words[:3])}"
    options = {word.partition("=")[0] for word in words if word.startswith("-") and not re.match(r"-\d", word)}
    assert options <= memr_commands()[name], f"memr {name} has no {options - memr_commands()[name]}"


class _Compose(yaml.SafeLoader):
    """Reads compose files. The tag `!override` replaces a list of the file before; here only the names count."""


_Compose.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def _check_compose(words: list[str]) -> None:
    files = [after for word, after in pairwise(words) if word == "-f"] or ["compose.yaml"]
    whole = [yaml.load((ROOT / file).read_text(), Loader=_Compose) for file in files]
    services = {name: one for file in whole for name, one in (file.get("services") or {}).items()}
    profiles = {profile for one in services.values() for profile in one.get("profiles", ())}
    named = {after for word, after in pairwise(words) if word == "--profile"}
    assert named <= profiles, f"there is no profile {named - profiles}"
    verb = next((at for at, word in enumerate(words) if word in ("up", "restart", "logs", "run", "exec")), None)
    if verb is not None:
        asked = [word for word in words[verb + 1 :] if not word.startswith("-")]
        assert set(asked[:1]) <= set(services), f"there is no service {asked}"


def _check_python(words: list[str]) -> None:
    match words:
        case ["-m", module, *options] if module.split(".")[0] in ("benchmarks", "examples", "docs", "memr_service"):
            at = ROOT / ("service" if module.startswith("memr_service") else ".") / module.replace(".", "/")
            files = [at.with_suffix(".py"), at / "__main__.py"]
            source = "".join(path.read_text() for path in (*files, *at.glob("*.py")) if path.exists())
            assert any(path.exists() for path in files), f"there is no module {module}"
        case [script, *options] if script.endswith(".py") and (ROOT / script).exists():
            source = (ROOT / script).read_text()
        case _:
            return
    for option in options:
        if option.startswith("--"):
            bare = option.partition("=")[0].removeprefix("--")
            assert bare in source or bare.replace("-", "_") in source, f"{words} has no {option}"


def _check_curl(words: list[str]) -> None:
    url = next((word for word in words if word.startswith("http")), "")
    bodies = [after for word, after in pairwise(words) if word in ("-d", "--data")]
    for body in bodies:
        given: dict[str, Any] = json.loads(body)
        if re.search(r"/runs/[\w.-]+$", url):
            RunConfig.model_validate(given)
        elif url.endswith("/reward"):
            RewardRequest.model_validate(given)


def check_imports(source: str) -> None:
    """Raise AssertionError where Python code takes a name from memr that is not there."""
    for module, names in re.findall(r"^ *from (memr_[\w.]+) import (\([\w, \n]+\)|[\w, ]+)", source, re.MULTILINE):
        loaded = importlib.import_module(module)
        for name in re.findall(r"\w+", names):
            assert hasattr(loaded, name), f"{module} has no {name}"
