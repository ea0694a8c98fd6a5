/** How the charts of a view are seen: over which stretch of the x axis, and how smooth. It is kept in the address. */

import { keep, state } from "./address.js";
import { choice, element } from "./element.js";
import { short } from "./number.js";

const SMOOTHING = { 1: "none", 5: "mean of 5 points", 10: "mean of 10 points", 25: "mean of 25 points", 50: "mean of 50 points" };
const HINT = "Drag across a chart to zoom, double-click to see all. On a chart's keyboard focus: ← → read, + − zoom, 0 shows all.";

/** Tells charts by the event "change". `box` has its controls. `range` is [from, to], or null for all. */
export class Lens extends EventTarget {
  constructor({ smooths = true } = {}) {
    super();
    const { from, to, smooth } = state();
    const asked = [from, to].map((one) => (one ? Number(one) : NaN));
    this.range = asked[0] < asked[1] ? asked : null;
    this.smooth = smooths && smooth in SMOOTHING ? Number(smooth) : 1;
    this.whole = element("button", { type: "button", click: () => this.zoom(null) }, "Show all");
    this.said = element("span", { class: "note" });
    this.box = element(
      "form",
      { class: "bar", submit: (event) => event.preventDefault() },
      smooths ? choice("Smoothing", SMOOTHING, String(this.smooth), (chosen) => this.#set({ smooth: Number(chosen) })) : null,
      this.whole,
      this.said,
    );
    this.#tell();
  }

  /** See only a stretch; null: all. Every chart of the view follows. */
  zoom(range) {
    const digits = range && range[1] - range[0] < 100 ? 1 : 0;
    this.#set({ range: range && range.map((one) => Number(one.toFixed(digits))) });
  }

  /** The mean of each value and those before it, over as many values as were chosen. Missing values stay missing. */
  smoothed(values) {
    if (this.smooth === 1) return values;
    const newest = [];
    return values.map((value) => {
      if (value === null) return null;
      newest.push(value);
      if (newest.length > this.smooth) newest.shift();
      return newest.reduce((sum, one) => sum + one, 0) / newest.length;
    });
  }

  #set(more) {
    if (Object.entries(more).every(([name, value]) => String(value) === String(this[name]))) return;
    Object.assign(this, more);
    const [from, to] = this.range ?? [];
    keep({ from, to, smooth: this.smooth === 1 ? "" : this.smooth });
    this.#tell();
    this.dispatchEvent(new Event("change"));
  }

  #tell() {
    this.whole.hidden = !this.range;
    this.said.textContent = this.range ? `Zoomed to ${this.range.map((one) => short(one, 1)).join(" – ")}.` : HINT;
  }
}
