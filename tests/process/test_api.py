"""The client's public names and parameters are those in `tests/data/client-api.txt`; `make api` writes the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests/data/client-api.txt"
MODULES = ("memr_client", "memr_client.trl", "memr_client.openrlhf", "memr_client.verl")
MODULES_IN_VERL = ("memr_client.verl.manager", "memr_client.verl.checkpoint")
"""verl's configuration names the class in each."""


def public() -> list[str]:
    """A line for each public name of the client: functions and methods with parameters, fields of types."""
    client = griffe.load("memr_client", search_paths=[ROOT / "client"])
    lines = []
    for path in (*MODULES, *MODULES_IN_VERL):
        module = client[path.removeprefix("memr_client").removeprefix(".")] if path != "memr_client" else client
        for name in sorted(module.exports or _own(module)):
            lines += described(module[name], f"{path}.{name}")
    return lines


def _own(module: griffe.Module) -> set[str]:
    """What a module without `__all__` defines for others."""
    return {name for name, member in module.members.items() if not (name.startswith("_") or member.is_alias)}


def described(member: griffe.Object | griffe.Alias, path: str) -> Iterator[str]:
    """The lines of a name."""
    if member.is_alias:
        member = member.final_target
    if member.is_function:
        yield path + str(member.signature()).removeprefix(member.name)
    elif member.is_class:
        yield f"{path}({', '.join(str(base) for base in member.bases)})"
        for name, inner in sorted(member.all_members.items()):
            if name == "__init__" or not name.startswith("_"):
                yield from described(inner, f"{path}.{name}")
    else:
        annotation = f": {member.annotation}" if getattr(member, "annotation", None) else ""
        yield path + annotation


def test_the_clients_public_names_and_parameters_are_the_listed_ones():
    listed = LIST.read_text("utf-8").splitlines()
    assert public() == listed, "the public interface changed: `make api` writes it, CHANGELOG.md names it"


def test_a_renamed_parameter_is_noticed():
    lines = [line for line in public() if line.startswith("memr_client.RewardClient.checkpoints(")]
    assert lines == ["memr_client.RewardClient.checkpoints(run_id: str | None = None) -> list[Checkpoint]"]


if __name__ == "__main__":
    LIST.write_text("\n".join(public()) + "\n", "utf-8")
