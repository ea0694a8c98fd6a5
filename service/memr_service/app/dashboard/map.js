/** A sample of both memories, projected on the embeddings' first two principal components; and a table of what is chosen
 *  on it, by a lasso or by cluster. */

import { keep, state } from "./address.js";
import { choice, drawing, element, facts, table } from "./element.js";
import { percent, short } from "./number.js";
import { age, RIGHT, stroke, theme, WRONG } from "./palette.js";
import { inside, nearest } from "./plane.js";
import { savePicture, saveTable } from "./save.js";
import { at, get } from "./server.js";

const WIDTH = 1000;
const HEIGHT = 620;
const MARGIN = 24;
const PAGE = 25;
const DRAG = 8; // pixels that a click may move without being a lasso
const COLOURING = { outcome: "by outcome", age: "by age", cluster: "by cluster" };

export async function map(run, signal) {
  const { points, explained, memory, clusters } = await get(at(run, "/map", { most: 1200 }), signal);
  if (!points.length) return element("p", {}, "Both memories are empty. The first POST /reward fills them.");
  points.sort((a, b) => a.serial - b.serial);
  const positions = laidOut(points);
  const asked = state();
  const titles = clusters.map(({ words }, number) => words.join(", ") || `cluster ${number + 1}`);
  let colouring = asked.colour in COLOURING ? asked.colour : "outcome";
  let cluster = asked.cluster in clusters ? asked.cluster : "";
  let lasso = null; // its corners
  let page = 0;
  let chosen = -1;

  const canvas = element("canvas", {
    width: WIDTH,
    height: HEIGHT,
    tabindex: "0",
    role: "img",
    "aria-label":
      `Map of ${points.length} stored completions. The arrow keys move from the oldest to the newest that is chosen; ` +
      "Enter explains the selected one. The choice Cluster chooses many.",
  });
  const selected = element(
    "div",
    { class: "selected", "aria-live": "polite" },
    element(
      "p",
      { class: "note" },
      "Point at a completion or use the arrow keys to read it; click or press Enter to explain its reward. " +
        "Draw around completions to list them, or choose a cluster.",
    ),
  );
  const legend = element("ul", { class: "legend" });
  const listed = element("div", { "aria-live": "polite" });
  const all = element("button", { type: "button", click: () => choose({ cluster: "", lasso: null }) }, "All completions");
  const byCluster = choice(
    "Cluster ",
    { "": "all", ...Object.fromEntries(titles.map((title, number) => [number, `${title} (${clusters[number].points})`])) },
    cluster,
    (value) => choose({ cluster: value, lasso: null }),
  );

  const wanted = (number) =>
    (cluster === "" || points[number].cluster === Number(cluster)) && (!lasso || inside(lasso, positions[number]));
  const colour = (number) =>
    ({
      outcome: () => (points[number].memory === "success" ? RIGHT : WRONG),
      age: () => age(number / Math.max(1, points.length - 1)),
      cluster: () => stroke(points[number].cluster).stroke,
    })[colouring]();

  /** Choose by lasso or cluster. */
  function choose(more) {
    if ("cluster" in more) cluster = more.cluster;
    if ("lasso" in more) lasso = more.lasso;
    page = 0;
    byCluster.querySelector("select").value = cluster;
    keep({ cluster });
    draw();
    list();
  }

  function draw() {
    const brush = canvas.getContext("2d");
    const scale = Math.max(1, WIDTH / (canvas.clientWidth || WIDTH)); // marks and words as large on a narrow screen
    brush.clearRect(0, 0, WIDTH, HEIGHT);
    points.forEach((point, number) => {
      brush.globalAlpha = wanted(number) ? 1 : 0.12;
      mark(brush, positions[number], point.memory, colour(number), Math.sqrt(scale));
    });
    brush.globalAlpha = 1;
    name(brush, scale);
    brush.strokeStyle = theme().ink;
    if (lasso) outline(brush, lasso);
    if (chosen < 0) return;
    brush.lineWidth = 3;
    brush.beginPath();
    brush.arc(...positions[chosen], 11, 0, 2 * Math.PI);
    brush.stroke();
  }

  /** Write each cluster's words at its middle, below those that are there already. */
  function name(brush, scale) {
    const { ink, paper } = theme();
    const line = 17 * scale;
    Object.assign(brush, { font: `600 ${13 * scale}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle", lineJoin: "round" });
    const written = [];
    titles.forEach((title, number) => {
      const of = positions.filter((_, at) => points[at].cluster === number);
      const middle = (axis) => of.reduce((sum, position) => sum + position[axis], 0) / of.length;
      const words = scale > 1.5 ? title.split(", ")[0] : title;
      const half = brush.measureText(words).width / 2;
      const x = Math.min(WIDTH - half - 4, Math.max(half + 4, middle(0)));
      let y = middle(1);
      while (written.some((one) => Math.abs(one.x - x) < one.half + half && Math.abs(one.y - y) < line)) y += line / 4;
      written.push({ x, y, half });
      Object.assign(brush, { strokeStyle: paper, lineWidth: 4 * scale, fillStyle: ink });
      brush.globalAlpha = cluster === "" || Number(cluster) === number ? 1 : 0.25;
      brush.strokeText(words, x, y);
      brush.fillText(words, x, y);
    });
    brush.globalAlpha = 1;
  }

  function list() {
    const numbers = points.map((_, number) => number).filter(wanted);
    const shown = numbers.slice(page * PAGE, (page + 1) * PAGE).map((number) => points[number]);
    const to = (title, by, possible) =>
      element("button", { type: "button", disabled: !possible, click: () => ((page += by), list()) }, title);
    const range = numbers.length ? `${page * PAGE + 1} to ${page * PAGE + shown.length} of ${short(numbers.length)}` : "none";
    all.hidden = numbers.length === points.length;
    listed.replaceChildren(
      table(`Completions ${all.hidden ? "on the map" : "chosen"}: ${range}`, columns(run, titles), shown),
      ...(numbers.length > PAGE
        ? [to("Previous page", -1, page > 0), " ", to("Next page", 1, (page + 1) * PAGE < numbers.length)]
        : []),
    );
  }

  function read(number) {
    if (number === chosen || number < 0) return;
    chosen = number;
    draw();
    const point = points[number];
    selected.replaceChildren(
      facts({ Memory: point.memory, Outcome: short(point.outcome), Cluster: titles[point.cluster], "Serial number": short(point.serial) }),
      element("p", {}, element("b", {}, "Prompt: "), point.prompt ?? "not kept"),
      element("p", {}, element("b", {}, "Completion: "), point.completion ?? "not kept"),
    );
  }

  function explainChosen() {
    if (chosen >= 0) location.hash = toExplain(run, points[chosen]);
  }

  /** The explanation of the colours and shapes. */
  function explainColours() {
    const shapes = [
      ["success", colouring === "outcome" ? RIGHT : "currentColor", "success memory"],
      ["failure", colouring === "outcome" ? WRONG : "currentColor", "failure memory"],
    ];
    const squares = {
      outcome: [],
      age: [
        ["", age(0), "oldest"],
        ["", age(1), "newest"],
      ],
      cluster: titles.map((title, number) => ["", stroke(number).stroke, title]),
    };
    legend.replaceChildren(
      ...[...shapes, ...squares[colouring]].map(([shape, filled, label]) => element("li", { "data-colour": filled === "currentColor" ? theme().ink : filled }, symbol(shape, filled), label)),
    );
  }

  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * WIDTH) / box.width, ((event.clientY - box.top) * HEIGHT) / box.height];
  };
  let path = null; // while the button is pressed
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button) return; // a finger scrolls the page
    path = [where(event)];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!path) return read(nearest(positions, where(event), wanted));
    path.push(where(event));
    draw();
    outline(canvas.getContext("2d"), path);
  });
  canvas.addEventListener("pointercancel", () => ((path = null), draw()));
  canvas.addEventListener("click", (event) => {
    const drawn = path ?? [];
    path = null;
    const [x, y] = where(event);
    if (!drawn.some(([px, py]) => Math.hypot(px - x, py - y) > DRAG)) return explainChosen();
    choose({ lasso: drawn });
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter") explainChosen();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    let next = chosen + by;
    while (next >= 0 && next < points.length && !wanted(next)) next += by;
    if (next >= 0 && next < points.length) read(next);
  });
  document.addEventListener("themed", draw, { signal });
  const sized = new ResizeObserver(draw);
  sized.observe(canvas);
  signal.addEventListener("abort", () => sized.disconnect());
  explainColours();
  list();

  const note =
    `${short(points.length)} of ${short(memory.success.completions + memory.failure.completions)} completions; ` +
    `the plane shows ${percent(explained[0] + explained[1])} of their variance, clusters are of all of it`;
  const save = () =>
    savePicture(
      `${run} memories`,
      note,
      canvas,
      [...legend.children].map((one) => ({ label: one.textContent, stroke: one.dataset.colour })),
      theme(),
    );
  const names = ["memory", "serial", "x", "y", "cluster", "outcome"];
  const csv = () =>
    saveTable(
      `${run} memories`,
      names,
      names.map((name) => points.map((point) => (name === "cluster" ? titles[point.cluster] : point[name]))),
    );
  return element(
    "section",
    {},
    element(
      "figure",
      { class: "map" },
      element(
        "figcaption",
        {},
        element("span", {}, "Both memories ", element("small", {}, note)),
        choice("Colour ", COLOURING, colouring, (value) => {
          colouring = value;
          keep({ colour: value === "outcome" ? "" : value });
          explainColours();
          draw();
        }),
        byCluster,
        all,
        element("button", { type: "button", click: save, "aria-label": "Save the map as PNG" }, "PNG"),
        element("button", { type: "button", click: csv, "aria-label": "Save the map as CSV" }, "CSV"),
      ),
      element("div", {}, canvas, legend),
      selected,
    ),
    listed,
  );
}

const toExplain = (run, { serial }) => `#/run/${encodeURIComponent(run)}/explain/${serial}`;

function columns(run, titles) {
  const explain = (point) =>
    element("a", { href: toExplain(run, point), "aria-label": `Explain completion number ${point.serial}` }, "Explain");
  return [
    { title: "Explain", brief: true, cell: explain },
    { title: "Memory", brief: true, cell: ({ memory }) => element("span", { class: memory === "success" ? "right" : "wrong" }, memory) },
    { title: "Outcome", number: true, cell: (point) => short(point.outcome) },
    { title: "Completion", text: true, cell: (point) => point.completion ?? "not kept" },
    { title: "Prompt", text: true, cell: (point) => point.prompt ?? "not kept" },
    { title: "Cluster", cell: (point) => titles[point.cluster] },
  ];
}

/** A small disc for a success, a cross for a failure, otherwise a square. */
function symbol(shape, colour) {
  const shapes = {
    success: ["circle", { cx: 6, cy: 6, r: 5, fill: colour }],
    failure: ["path", { d: "M2 2L10 10M10 2L2 10", stroke: colour, "stroke-width": 2.5 }],
    "": ["rect", { x: 1, y: 1, width: 10, height: 10, fill: colour }],
  };
  return drawing(12, 12, { "aria-hidden": "true" }, [shapes[shape]]);
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

function mark(brush, [x, y], memory, colour, scale) {
  brush.fillStyle = brush.strokeStyle = colour;
  brush.lineWidth = 2 * scale;
  brush.beginPath();
  if (memory === "success") {
    brush.arc(x, y, 4.5 * scale, 0, 2 * Math.PI);
    brush.fill();
  } else {
    for (const way of [1, -1]) {
      brush.moveTo(x - 4 * scale, y - 4 * way * scale);
      brush.lineTo(x + 4 * scale, y + 4 * way * scale);
    }
    brush.stroke();
  }
}

function outline(brush, corners) {
  brush.strokeStyle = theme().ink;
  brush.lineWidth = 1.5;
  brush.setLineDash([6, 4]);
  brush.beginPath();
  for (const corner of corners) brush.lineTo(...corner);
  brush.closePath();
  brush.stroke();
  brush.setLineDash([]);
}
