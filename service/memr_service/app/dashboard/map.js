/** A sample of both memories, projected on the embeddings' first two principal components. */

import { choice, element, facts } from "./element.js";
import { percent, short } from "./number.js";
import { age, RIGHT, theme, WRONG } from "./palette.js";
import { savePicture, saveTable } from "./save.js";
import { at, get } from "./server.js";

const WIDTH = 1000;
const HEIGHT = 620;
const MARGIN = 24;

export async function map(run, signal) {
  const { points, explained, memory } = await get(at(run, "/map", { most: 1200 }), signal);
  if (!points.length) return element("p", {}, "Both memories are empty.");
  points.sort((a, b) => a.serial - b.serial);
  const positions = laidOut(points);
  const canvas = element("canvas", {
    width: WIDTH,
    height: HEIGHT,
    tabindex: "0",
    role: "img",
    "aria-label":
      `Map of ${points.length} stored completions. ` +
      "The arrow keys move from the oldest to the newest; Enter explains the selected one.",
  });
  const selected = element(
    "div",
    { class: "selected", "aria-live": "polite" },
    element(
      "p",
      { class: "note" },
      "Point at a completion or use the arrow keys to read it. Click or press Enter to explain its reward.",
    ),
  );
  let chosen = -1;
  let colouring = "outcome";
  const colour = (number) =>
    colouring === "age"
      ? age(number / Math.max(1, points.length - 1))
      : points[number].memory === "success"
        ? RIGHT
        : WRONG;

  function draw() {
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, WIDTH, HEIGHT);
    points.forEach((point, number) => mark(brush, positions[number], point.memory, colour(number)));
    if (chosen < 0) return;
    brush.strokeStyle = theme().ink;
    brush.lineWidth = 3;
    brush.beginPath();
    brush.arc(...positions[chosen], 11, 0, 2 * Math.PI);
    brush.stroke();
  }

  function choose(number) {
    if (number === chosen) return;
    chosen = number;
    draw();
    const point = points[number];
    selected.replaceChildren(
      facts({ Memory: point.memory, Outcome: short(point.outcome), "Serial number": short(point.serial) }),
      element("p", {}, element("b", {}, "Prompt: "), point.prompt ?? "not kept"),
      element("p", {}, element("b", {}, "Completion: "), point.completion ?? "not kept"),
    );
  }

  function explainChosen() {
    if (chosen >= 0) location.hash = `#/run/${encodeURIComponent(run)}/explain/${points[chosen].serial}`;
  }

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    choose(
      nearest(
        positions,
        ((event.clientX - box.left) * WIDTH) / box.width,
        ((event.clientY - box.top) * HEIGHT) / box.height,
      ),
    );
  });
  canvas.addEventListener("click", explainChosen);
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter") explainChosen();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    choose(Math.min(points.length - 1, Math.max(0, chosen + by)));
  });
  document.addEventListener("themed", draw, { signal });
  draw();
  const legend = () =>
    colouring === "age"
      ? [
          { label: "oldest", stroke: age(0) },
          { label: "newest", stroke: age(1) },
        ]
      : [
          { label: "success memory", stroke: RIGHT },
          { label: "failure memory", stroke: WRONG },
        ];
  const note =
    `${short(points.length)} of ${short(memory.success.completions + memory.failure.completions)} completions; ` +
    "discs: successes, crosses: failures; " +
    `the plane shows ${percent(explained[0] + explained[1])} of their variance`;
  const save = () => savePicture(`${run} memories`, note, canvas, legend(), theme());
  const columns = ["memory", "serial", "x", "y", "outcome"];
  return element(
    "figure",
    { class: "map" },
    element(
      "figcaption",
      {},
      element(
        "span",
        {},
        "Both memories ",
        element("small", {}, note),
      ),
      choice(
        "Colour ",
        { outcome: "by outcome", age: "by age (orange: oldest)" },
        colouring,
        (value) => ((colouring = value), draw()),
      ),
      element("button", { type: "button", click: save, "aria-label": "Save the map as PNG" }, "PNG"),
      element(
        "button",
        {
          type: "button",
          click: () =>
            saveTable(
              `${run} memories`,
              columns,
              columns.map((name) => points.map((point) => point[name])),
            ),
          "aria-label": "Save the map as CSV",
        },
        "CSV",
      ),
    ),
    canvas,
    selected,
  );
}

/** Positions of the points on the canvas, with the same scale along both axes. */
function laidOut(points) {
  const bounds = (values) => [Math.min(...values), Math.max(...values)];
  const [left, right] = bounds(points.map((point) => point.x));
  const [low, high] = bounds(points.map((point) => point.y));
  const unit = Math.min((WIDTH - 2 * MARGIN) / (right - left || 1), (HEIGHT - 2 * MARGIN) / (high - low || 1));
  return points.map(({ x, y }) => [
    WIDTH / 2 + unit * (x - (left + right) / 2),
    HEIGHT / 2 - unit * (y - (low + high) / 2),
  ]);
}

function mark(brush, [x, y], memory, colour) {
  brush.fillStyle = brush.strokeStyle = colour;
  brush.lineWidth = 2;
  brush.beginPath();
  if (memory === "success") {
    brush.arc(x, y, 4.5, 0, 2 * Math.PI);
    brush.fill();
  } else {
    for (const way of [1, -1]) {
      brush.moveTo(x - 4, y - 4 * way);
      brush.lineTo(x + 4, y + 4 * way);
    }
    brush.stroke();
  }
}

function nearest(positions, x, y) {
  const distances = positions.map(([px, py]) => (px - x) ** 2 + (py - y) ** 2);
  return distances.indexOf(Math.min(...distances));
}
