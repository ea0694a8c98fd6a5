/** A figure of a distribution over steps: one column for each moment, one row for each interval. */

import { element } from "./element.js";
import { percent, short } from "./number.js";
import { heat, theme } from "./palette.js";
import { savePicture, saveTable } from "./save.js";

const HEIGHT = 260;
const LEFT = 34;
const BELOW = 22;
const TOP = 8;

/** The figure of `rows` ([{ histogram, ... }]), which ascend by `row[across]`. `says(row)` describes one moment. It
 *  stops listening when the signal aborts. */
export function heatMap(title, note, rows, across, says, signal) {
  const bins = rows[0].histogram.length;
  const most = Math.max(1, ...rows.flatMap((row) => row.histogram));
  const canvas = element("canvas", {
    tabindex: "0",
    role: "img",
    "aria-label": `${title}. Left and right arrow keys move from ${across} to ${across}.`,
  });
  const read = element("p", { class: "note", "aria-live": "polite" }, says(rows.at(-1)));
  let chosen = rows.length - 1;

  function draw() {
    const width = canvas.clientWidth;
    if (!width) return;
    const scale = devicePixelRatio;
    Object.assign(canvas, { width: width * scale, height: HEIGHT * scale });
    const brush = canvas.getContext("2d");
    brush.scale(scale, scale);
    const { ink, line } = theme();
    const [wide, high] = [(width - LEFT - 1) / rows.length, (HEIGHT - TOP - BELOW) / bins];
    rows.forEach(({ histogram }, column) =>
      histogram.forEach((count, bin) => {
        if (!count) return;
        brush.fillStyle = heat(Math.sqrt(count / most)); // few prompts stay visible beside many
        const [from, to] = [Math.round(LEFT + column * wide), Math.round(LEFT + (column + 1) * wide)];
        const [low, top] = [Math.round(HEIGHT - BELOW - bin * high), Math.round(HEIGHT - BELOW - (bin + 1) * high)];
        brush.fillRect(from, top, to - from, low - top);
      }),
    );
    brush.strokeStyle = line;
    brush.strokeRect(LEFT, TOP, width - LEFT - 1, HEIGHT - TOP - BELOW);
    brush.strokeStyle = ink;
    brush.strokeRect(LEFT + chosen * wide, TOP, wide, HEIGHT - TOP - BELOW);
    brush.fillStyle = ink;
    brush.font = "12px system-ui, sans-serif";
    brush.textBaseline = "middle";
    for (const p of [0, 0.5, 1]) brush.fillText(String(p), 6, HEIGHT - BELOW - p * (HEIGHT - TOP - BELOW));
    brush.textAlign = "center";
    for (const column of new Set([0, Math.floor((rows.length - 1) / 2), rows.length - 1])) {
      const label = String(rows[column][across]);
      const room = brush.measureText(label).width / 2;
      brush.fillText(label, Math.min(width - room, LEFT + (column + 0.5) * wide), HEIGHT - BELOW / 2);
    }
  }

  function choose(column) {
    chosen = Math.min(rows.length - 1, Math.max(0, column));
    read.textContent = says(rows[chosen]);
    draw();
  }

  canvas.addEventListener("pointermove", (event) => {
    const { left, width } = canvas.getBoundingClientRect();
    choose(Math.floor(((event.clientX - left - LEFT) / (width - LEFT)) * rows.length));
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    choose(chosen + by);
  });
  document.addEventListener("themed", draw, { signal });
  const sized = new ResizeObserver(draw);
  sized.observe(canvas);
  signal.addEventListener("abort", () => sized.disconnect());

  const edges = Array.from({ length: bins }, (_, bin) => `${short(bin / bins, 2)} to ${short((bin + 1) / bins, 2)}`);
  const csv = () =>
    saveTable(
      title,
      [across, ...edges],
      [rows.map((row) => row[across]), ...edges.map((_, bin) => rows.map((row) => row.histogram[bin]))],
    );
  const button = (kind, click) =>
    element("button", { type: "button", click, "aria-label": `Save ${title} as ${kind}` }, kind);
  return element(
    "figure",
    { class: "heat" },
    element(
      "figcaption",
      {},
      element("span", {}, title, " ", element("small", {}, note)),
      button("PNG", () => savePicture(title, `${note}, over ${across}s`, canvas, [], theme())),
      button("CSV", csv),
    ),
    canvas,
    read,
  );
}

/** What a moment's kinds of prompts are, in words. */
export function kindsOf({ solved, learnable, impossible }) {
  const known = solved + learnable + impossible || 1;
  const part = (title, count) => `${short(count)} ${title} (${percent(count / known)})`;
  return [part("solved", solved), part("learnable", learnable), part("impossible", impossible)].join(", ");
}
