/** A chart over steps or times: lines, bands, a cursor for mouse and keyboard, zoom, and buttons that save PNG and CSV. */

import uPlot from "./uPlot.js";
import { element } from "./element.js";
import { Legend } from "./legend.js";
import { brief, clock, short } from "./number.js";
import { stroke, theme, translucent } from "./palette.js";
import { savePicture, saveTable } from "./save.js";

const EMPTY = "Nothing yet. The first completions of this run draw it: POST /reward, or a trainer's adapter.";
const WHOLE = [1, 2, 5].flatMap((one) => Array.from({ length: 12 }, (_, power) => one * 10 ** power)).sort((a, b) => a - b);
const FONT = "12px system-ui, sans-serif";
const BAND = 0.15; // opacity
const RAW = 0.3; // opacity of a line that is also drawn smoothed
const ENDS = 52; // pixels for the values at the lines' ends
const APART = 13; // pixels between two of them

/** A figure with lines.
 *
 * `lens` says which stretch is seen and how smooth lines are; without it there is no zoom. `range` is that of the y axis,
 * `whole` whether its values are whole numbers, `times` whether x is a time (in seconds) and not a step. `empty` says
 * what to wait for while there are no values. `lines`: [{ label, value(row), colour? (a number), says?(value, row),
 * edge? (it bounds a band, and is thin), upTo? (number of the line with which it bounds one), band? (the band's name) }].
 * `update(rows, x, across)` draws the rows at ascending `x`; `across` names the x axis. The chart is destroyed when the
 * signal aborts.
 */
export class Chart {
  constructor(title, note, lines, { signal, lens = null, range = fitting, whole = false, times = false, empty = EMPTY, height = 190 }) {
    Object.assign(this, { title, note, lines, lens, range, whole, times, height });
    Object.assign(this, { across: "", plot: null, rows: [], data: null });
    const button = (kind, save) =>
      element("button", { type: "button", click: save, "aria-label": `Save ${title} as ${kind}` }, kind);
    this.box = element("div", { class: "plot", tabindex: "0", role: "group", keydown: (event) => this.#press(event) });
    this.entries = entriesOf(lines);
    this.legend = new Legend(this.entries, (entry, on) => this.#toggle(entry, on));
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
      this.legend.box,
    );
    this.box.hidden = this.legend.box.hidden = true;
    const sized = new ResizeObserver(() => this.#resize());
    sized.observe(this.box);
    document.addEventListener("themed", () => this.plot?.redraw(), { signal });
    lens?.addEventListener("change", () => this.#draw(), { signal });
    signal.addEventListener("abort", () => {
      sized.disconnect();
      this.plot?.destroy();
    });
  }

  update(rows, x, across) {
    Object.assign(this, { rows, across });
    this.data = [x, ...this.lines.map((line) => rows.map((row) => line.value(row) ?? null))];
    const any = this.data.slice(1).some((column) => column.some((value) => value !== null));
    this.none.hidden = any;
    this.box.hidden = this.legend.box.hidden = !any;
    if (!any) return;
    const latest = this.lines.map((line, number) => `${line.label} ${this.#says(number, rows.length - 1)}`);
    this.box.setAttribute(
      "aria-label",
      `${this.title} over ${this.across}s. Latest: ${latest.join(", ")}. Left and right arrow keys move the cursor` +
        `${this.lens ? ", plus and minus zoom, 0 shows all" : ""}.`,
    );
    this.#draw();
  }

  /** Draw the data as the lens shows them. */
  #draw() {
    if (!this.data?.[0].length || !this.box.clientWidth) return;
    const { lens, plot } = this;
    const [x, ...given] = this.data;
    const smooth = (lens?.smooth ?? 1) > 1;
    const raw = given.map((column, number) => (smooth && !this.lines[number].edge ? column : column.map(() => null)));
    const drawn = [x, ...given.map((column) => lens?.smoothed(column) ?? column), ...raw];
    if (plot) plot.setData(drawn, false);
    else this.plot = new uPlot(this.#options(), drawn, this.box);
    const [min, max] = lens?.range ?? [x[0], x.at(-1)];
    this.plot.setScale("x", min < max ? { min, max } : { min: min - 1, max: max + 1 });
    this.#tell();
  }

  #options() {
    const { lens } = this;
    const ink = () => theme().ink;
    const axis = { stroke: ink, grid: { stroke: () => theme().line, width: 1 }, ticks: { show: false }, font: FONT };
    const style = (line, number) => ({ ...stroke(line.colour ?? number), width: line.edge ? 0.5 : 2 });
    const points = { show: this.data[0].length < 30 };
    return {
      width: this.box.clientWidth,
      height: this.height,
      padding: [null, ENDS, null, null],
      scales: { x: { time: this.times }, y: { range: this.range } },
      cursor: {
        sync: { key: this.times ? "time" : "step" },
        drag: { x: lens !== null, y: false, setScale: false },
        bind: { dblclick: () => () => lens?.zoom(null) },
      },
      legend: { show: false },
      hooks: {
        setCursor: [() => this.#tell()],
        setSelect: [(plot) => this.#selected(plot)],
        draw: [(plot) => this.#ends(plot)],
      },
      axes: [
        { ...axis, size: 28, ...(this.times ? { space: 80, values: (_, ticks) => ticks.map(timeOf) } : { incrs: WHOLE, values: (_, ticks) => ticks.map(brief) }) },
        { ...axis, ...(this.whole ? { incrs: WHOLE } : {}), size: 62, values: (_, ticks) => ticks.map(tickOf) },
      ],
      series: [
        { label: this.across },
        ...this.lines.map((line, number) => ({ ...style(line, number), points, spanGaps: true })),
        ...this.lines.map((line, number) => {
          const { stroke: colour, dash } = style(line, number);
          return { stroke: translucent(colour, RAW), dash, width: 1, points: { show: false }, spanGaps: true };
        }),
      ],
      bands: this.lines.flatMap((line, number) =>
        line.upTo === undefined
          ? []
          : [{ series: [line.upTo + 1, number + 1], fill: translucent(style(line, number).stroke, BAND) }],
      ),
    };
  }

  #resize() {
    if (this.plot) this.plot.setSize({ width: this.box.clientWidth, height: this.height });
    else this.#draw();
  }

  /** A dragged stretch is what the lens shows. */
  #selected(plot) {
    const { left, width } = plot.select;
    if (!this.lens || width < 4) return;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.lens.zoom([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  }

  /** The place under the cursor; without a cursor, the newest that is seen, of a line the newest where it has a value. */
  #place(number = 0) {
    const high = this.lens?.range?.[1] ?? Infinity;
    const last = this.data[0].findLastIndex((x, at) => x <= high && this.data[number][at] !== null);
    return this.plot?.cursor.idx ?? Math.max(0, last);
  }

  #tell() {
    if (!this.plot) return;
    const here = this.#place();
    const x = (at) => (this.times ? timeOf(this.data[0][at]) : short(this.data[0][at]));
    const value = ({ numbers }) => {
      const at = this.#place(numbers[0] + 1);
      const said = numbers.map((number) => this.#says(number, at)).join(" to ");
      return at === here ? said : `${said} (at ${x(at)})`;
    };
    this.legend.tell(this.times ? clock(1000 * this.data[0][here]) : `${this.across} ${x(here)}`, this.entries.map(value));
  }

  #says(number, at) {
    const { says, edge } = this.lines[number];
    const value = this.data[number + 1][at];
    if (!edge && value !== null && this.lens?.smooth > 1 && this.plot) return `${short(this.plot.data[number + 1][at])} (raw ${short(value)})`;
    return says?.(value, this.rows[at]) ?? short(value);
  }

  /** Write each line's last value that is seen at its end. */
  #ends(plot) {
    const scale = devicePixelRatio;
    const { left, top, width, height } = plot.bbox;
    const [low, high] = [plot.scales.x.min, plot.scales.x.max];
    const ends = this.lines.flatMap((line, number) => {
      if (line.edge || plot.series[number + 1].show === false) return [];
      const at = plot.data[0].findLastIndex((x, place) => x >= low && x <= high && plot.data[number + 1][place] !== null);
      if (at < 0) return [];
      const value = plot.data[number + 1][at];
      const text = line.says?.(value, this.rows[at]) ?? brief(value);
      return [{ text, colour: stroke(line.colour ?? number).stroke, y: plot.valToPos(value, "y", true) }];
    });
    ends.sort((one, other) => one.y - other.y);
    ends.forEach((end, number) => (end.at = Math.max(end.y, top, number ? ends[number - 1].at + APART * scale : 0)));
    ends.toReversed().forEach((end, number, all) => {
      end.at = Math.min(end.at, number ? all[number - 1].at - APART * scale : top + height);
    });
    const brush = plot.ctx;
    brush.save();
    Object.assign(brush, { font: `${12 * scale}px system-ui, sans-serif`, textAlign: "left", textBaseline: "middle" });
    for (const { text, colour, at } of ends.filter((end) => end.at >= top - APART * scale)) {
      brush.fillStyle = colour;
      brush.fillRect(left + width + 3 * scale, at - 3 * scale, 4 * scale, 6 * scale);
      brush.fillStyle = theme().ink;
      brush.fillText(text, left + width + 9 * scale, at, (ENDS - 10) * scale);
    }
    brush.restore();
  }

  #toggle({ numbers }, on) {
    for (const number of numbers)
      for (const one of [number + 1, number + 1 + this.lines.length]) this.plot?.setSeries(one, { show: on });
  }

  #press(event) {
    if (!this.plot || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const times = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (by) this.#step(by);
    else if (times && this.lens) this.#zoom(times);
    else if (event.key === "0") this.lens?.zoom(null);
    else return;
    event.preventDefault();
  }

  #step(by) {
    const [x] = this.data;
    const [low, high] = this.lens?.range ?? [x[0], x.at(-1)];
    const place = this.plot.cursor.idx ?? this.#place() - by;
    const at = Math.min(x.findLastIndex((one) => one <= high), Math.max(x.findIndex((one) => one >= low), place + by));
    this.plot.setCursor({ left: this.plot.valToPos(x[at], "x"), top: 10 });
  }

  /** See a stretch that is `times` as long, around the cursor. */
  #zoom(times) {
    const [x] = this.data;
    const [low, high] = this.lens.range ?? [x[0], x.at(-1)];
    const wide = Math.max(1, times * (high - low));
    if (wide >= x.at(-1) - x[0]) return this.lens.zoom(null);
    const from = Math.min(Math.max(x[this.#place()] - wide / 2, x[0]), x.at(-1) - wide);
    this.lens.zoom([from, from + wide]);
  }

  #png() {
    if (!this.plot) return;
    const legend = this.entries.map((entry) => ({ ...entry, stroke: entry.fill ? translucent(entry.stroke, entry.fill) : entry.stroke }));
    savePicture(this.title, `${this.note}, over ${this.across}s`, this.plot.ctx.canvas, legend, theme());
  }

  #csv() {
    if (this.data) saveTable(this.title, [this.across, ...this.lines.map((line) => line.label)], this.data);
  }
}

/** What the legend shows of some lines: each line, or the band that two of them bound. */
function entriesOf(lines) {
  const lined = lines.flatMap((line, number) =>
    line.edge ? [] : [{ label: line.label, numbers: [number], ...stroke(line.colour ?? number) }],
  );
  const bands = lines.flatMap(({ upTo, band, colour }, number) =>
    upTo === undefined ? [] : [{ label: band, numbers: [number, upTo], ...stroke(colour ?? number) }],
  );
  // Bands lie one upon the other, so that the inner ones are stronger.
  return [...lined, ...bands.map((band, number) => ({ ...band, fill: 1 - (1 - BAND) ** (bands.length - number) }))];
}

/** Lines of a distribution: its median, and bands for the middle 50 % and 90 %. */
export function quantileLines(of, colour) {
  const line = (label, quantile, more) => ({ label, value: (row) => of(row)?.[quantile], colour, ...more });
  return [
    line("95 %", "p95", { edge: true }),
    line("75 %", "p75", { edge: true }),
    line("median", "p50"),
    line("25 %", "p25", { edge: true, upTo: 1, band: "middle 50 %" }),
    line("5 %", "p5", { edge: true, upTo: 0, band: "middle 90 %" }),
  ];
}

/** A range of the y axis that fits its values; around equal ones, as far as their size. */
function fitting(_, low, high) {
  if (low === null) return [0, 1];
  if (low !== high) return uPlot.rangeNum(low, high, 0.1, true);
  return low === 0 ? [0, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
}

const timeOf = (seconds) => clock(1000 * seconds).slice(0, 8);

/** A tick of the y axis: few characters, no rounding error. */
const tickOf = (tick) => (Math.abs(tick) < 1000 ? String(Number(tick.toPrecision(6))) : brief(tick));
