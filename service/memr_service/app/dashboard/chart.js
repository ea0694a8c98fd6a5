/** A chart over steps: lines, bands, a cursor for mouse and keyboard, and buttons that save PNG and CSV. */

import uPlot from "./uPlot.js";
import { element } from "./element.js";
import { short } from "./number.js";
import { stroke, theme, translucent } from "./palette.js";
import { savePicture, saveTable } from "./save.js";

const EMPTY = "Nothing yet. The first completions of this run draw it: POST /reward, or a trainer's adapter.";
const WHOLE = [1, 2, 5].flatMap((one) => Array.from({ length: 12 }, (_, power) => one * 10 ** power)).sort((a, b) => a - b);

/** A figure with lines.
 *
 * `range` is that of the y axis, `whole` whether its values are whole numbers. `empty` says what to wait for while there
 * are no values. `lines`: [{ label, value(row), width?, colour? (a number), upTo? (number of the line that bounds the filled band) }].
 * `update(rows, x, across)` draws the rows at ascending `x`; `across` names the x axis. The chart is destroyed when the
 * signal aborts.
 */
export class Chart {
  constructor(title, note, lines, { signal, range = fitting, whole = false, empty = EMPTY, height = 190 }) {
    Object.assign(this, { title, note, lines, range, whole, height, across: "", plot: null, data: null });
    const button = (kind, save) =>
      element("button", { type: "button", click: save, "aria-label": `Save ${title} as ${kind}` }, kind);
    this.box = element("div", { class: "plot", tabindex: "0", role: "group", keydown: (event) => this.#step(event) });
    this.figure = element(
      "figure",
      {},
      element(
        "figcaption",
        {},
        element("span", {}, title, " ", element("small", {}, note)),
        button("PNG", () => this.#png()),
        button("CSV", () => this.#csv()),
      ),
      (this.none = element("p", { class: "none" }, empty)),
      this.box,
    );
    this.box.hidden = true;
    const sized = new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height }));
    sized.observe(this.box);
    document.addEventListener("themed", () => this.plot?.redraw(), { signal });
    signal.addEventListener("abort", () => {
      sized.disconnect();
      this.plot?.destroy();
    });
  }

  update(rows, x, across) {
    this.across = across;
    this.data = [x, ...this.lines.map((line) => rows.map((row) => line.value(row) ?? null))];
    const latest = this.lines.map((line, number) => `${line.label} ${short(this.data[number + 1].at(-1))}`);
    this.box.setAttribute(
      "aria-label",
      `${this.title} over ${this.across}s. Latest: ${latest.join(", ")}. Left and right arrow keys move the cursor.`,
    );
    const any = this.data.slice(1).some((column) => column.some((value) => value !== null));
    this.none.hidden = any;
    this.box.hidden = !any;
    if (!any) return;
    if (this.plot) this.plot.setData(this.data);
    else if (x.length && this.box.clientWidth) this.plot = new uPlot(this.#options(), this.data, this.box);
    this.#tellNewest();
  }

  #options() {
    const ink = () => theme().ink;
    const axis = {
      stroke: ink,
      grid: { stroke: () => theme().line, width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    const style = (line, number) => ({ ...stroke(line.colour ?? number), width: line.width ?? 2 });
    return {
      width: this.box.clientWidth,
      height: this.height,
      scales: { x: { time: false }, y: { range: this.range } },
      cursor: { sync: { key: "step" }, drag: { x: true, y: false } },
      hooks: { setCursor: [() => this.#tellNewest()] },
      axes: [
        { ...axis, size: 28, incrs: WHOLE },
        {
          ...axis,
          ...(this.whole ? { incrs: WHOLE } : {}),
          size: 62,
          values: (_, ticks) => ticks.map((tick) => (Math.abs(tick) >= 1000 ? `${tick / 1000}k` : String(tick))),
        },
      ],
      series: [
        { label: this.across },
        ...this.lines.map((line, number) => ({
          label: line.label,
          ...style(line, number),
          points: { show: this.data[0].length < 30 },
          spanGaps: true,
          value: (_, value) => short(value),
        })),
      ],
      bands: this.lines.flatMap((line, number) =>
        line.upTo === undefined
          ? []
          : [{ series: [line.upTo + 1, number + 1], fill: translucent(style(line, number).stroke, 0.15) }],
      ),
    };
  }

  /** Without a cursor the legend has the newest values. */
  #tellNewest() {
    const { plot } = this;
    if (plot && (plot.cursor.idx ?? null) === null) plot.setLegend({ idx: this.data[0].length - 1 });
  }

  #step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.plot) return;
    event.preventDefault();
    const last = this.data[0].length - 1;
    const at = Math.min(last, Math.max(0, (this.plot.cursor.idx ?? last - by) + by));
    this.plot.setCursor({ left: this.plot.valToPos(this.data[0][at], "x"), top: 10 });
  }

  #png() {
    if (!this.plot) return;
    const named = this.lines.map((line, number) => ({ ...line, ...stroke(line.colour ?? number) }));
    const legend = named.filter((line) => line.width === undefined || line.width >= 2); // without a band's edges
    savePicture(this.title, `${this.note}, over ${this.across}s`, this.plot.ctx.canvas, legend, theme());
  }

  #csv() {
    if (this.data) saveTable(this.title, [this.across, ...this.lines.map((line) => line.label)], this.data);
  }
}

/** Lines of a distribution: its median, and bands for the middle 50 % and 90 %. */
export function quantileLines(of, colour) {
  const line = (label, quantile, more) => ({ label, value: (row) => of(row)?.[quantile], width: 0.5, colour, ...more });
  return [
    line("95 %", "p95"),
    line("75 %", "p75"),
    line("median", "p50", { width: 2 }),
    line("25 %", "p25", { upTo: 1 }),
    line("5 %", "p5", { upTo: 0 }),
  ];
}

/** A range of the y axis that fits its values; around equal ones, as far as their size. */
function fitting(_, low, high) {
  if (low === null) return [0, 1];
  if (low !== high) return uPlot.rangeNum(low, high, 0.1, true);
  return low === 0 ? [0, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
}
