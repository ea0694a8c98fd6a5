/** The legend of a chart: each line as it is drawn, its name, and its value under the cursor. */

import { drawing, element } from "./element.js";

/** `entries`: [{ label, stroke, dash, fill? (opacity of a band) }]. If there are several, each is a button that calls
 *  `toggle(entry, on)`. */
export class Legend {
  constructor(entries, toggle) {
    this.across = element("li");
    this.values = entries.map(() => element("span", { class: "value" }));
    const several = entries.length > 1;
    const name = (entry) => {
      const press = ({ currentTarget: made }) => {
        const on = made.getAttribute("aria-pressed") === "false";
        made.setAttribute("aria-pressed", on);
        toggle(entry, on);
      };
      const tag = several ? "button" : "span";
      const attributes = several ? { type: "button", "aria-pressed": "true", title: "Show or hide", click: press } : {};
      return element(tag, attributes, sample(entry), element("span", { class: "name" }, entry.label));
    };
    this.box = element(
      "ul",
      { class: "legend" },
      this.across,
      entries.map((entry, number) => element("li", {}, name(entry), " ", this.values[number])),
    );
  }

  /** Show where the cursor is, and each entry's value as text. */
  tell(across, values) {
    this.across.textContent = across;
    values.forEach((value, number) => (this.values[number].textContent = value));
  }
}

/** A short piece of a line, or of a band. */
function sample({ stroke, dash, fill }) {
  const shape = fill
    ? ["rect", { width: 26, height: 10, fill: stroke, "fill-opacity": fill }]
    : ["line", { x2: 26, y1: 5, y2: 5, stroke, "stroke-width": 2.5, "stroke-dasharray": dash.join(" ") }];
  return drawing(26, 10, { "aria-hidden": "true" }, [shape]);
}
