"""A drawing of the service's imports: one arc for each pair of rooms, as wide as it has imports."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import grimp
import matplotlib as mpl
from importlinter.api import read_configuration
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

PACKAGE = "memr_service"
STYLE = {"svg.hashsalt": "memr", "svg.fonttype": "none", "font.family": "DejaVu Sans"}
DOWN, UP = "#3d6fb4", "#b3412f"


def rooms(root: Path) -> list[str]:
    """The rooms, from the highest to the ground floor, as the contract in pyproject.toml orders them."""
    contracts = read_configuration(str(root / "pyproject.toml"))["contracts_options"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [room.strip().removeprefix(f"{PACKAGE}.") for layer in layers for room in layer.split("|")]


def imports() -> Counter[tuple[str, str]]:
    """(importing room, imported room) -> how many imports of a module of one by a module of the other."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found = Counter[tuple[str, str]]()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            pair = _room(importer), _room(imported)
            if pair[0] and pair[1] and pair[0] != pair[1]:
                found[pair] += 1
    return found


def _room(module: str) -> str:
    """The room of a module; empty for the package itself and its `__main__`, which belong to none."""
    room = module.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]
    return "" if room.startswith("__") else room


def drawing(root: Path) -> str:
    """The drawing as SVG: rooms in their order, imports downwards on the right, upwards on the left."""
    order, found = rooms(root), imports()
    upward = sum(1 for importer, imported in found if order.index(importer) > order.index(imported))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 6.0))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-1.9, 4.3), ylim=(-len(order), 1.3))
        axes.axis("off")
        axes.text(
            1.2,
            0.8,
            f"{len(order)} rooms, {len(found)} arrows, {upward} upward",
            ha="center",
            fontsize=11,
            fontweight="bold",
            color="#1f2328",
        )
        for y, room in enumerate(order):
            axes.add_patch(
                FancyBboxPatch(
                    (-1.05, -y - 0.27), 2.1, 0.54, boxstyle="round,pad=0.02", facecolor="#f3f6fa", edgecolor="#8c96a3"
                )
            )
            axes.text(0, -y, room, ha="center", va="center", fontsize=10, color="#1f2328")
        for (importer, imported), number in sorted(found.items()):
            axes.add_patch(_arc(order.index(importer), order.index(imported), number))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _arc(importer: int, imported: int, number: int) -> PathPatch:
    side, colour = (1, DOWN) if importer < imported else (-1, UP)
    x, reach = 1.08 * side, 0.55 + 0.27 * abs(importer - imported)
    start, end = -importer - 0.08, -imported + 0.12
    points = [(x, start), (x + reach * side, start), (x + reach * side, end), (x, end)]
    curve = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    return PathPatch(curve, facecolor="none", edgecolor=colour, linewidth=0.5 + 0.12 * min(number, 20), alpha=0.65)
