/** A line without axes, as small as a word: where the newest value comes from. */

import { drawing } from "./element.js";
import { short } from "./number.js";
import { stroke } from "./palette.js";

const WIDTH = 72;
const HEIGHT = 18;

/** The line of some values, oldest first, in the colour of a series. */
export function sparkline(title, values, colour) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (at) => 2 + ((WIDTH - 4) * at) / Math.max(1, values.length - 1);
  const y = (value) => (high > low ? HEIGHT - 2 - ((HEIGHT - 4) * (value - low)) / (high - low) : HEIGHT / 2);
  const [lastX, lastY] = [x(values.length - 1), y(values.at(-1))];
  return drawing(
    WIDTH,
    HEIGHT,
    {
      class: "sparkline",
      role: "img",
      "aria-label": `${title} of the last ${values.length} steps: ${short(values[0])} to ${short(values.at(-1))}`,
    },
    [
      ["polyline", { points: values.map((value, at) => `${x(at)},${y(value)}`).join(" "), fill: "none", stroke: stroke(colour).stroke, "stroke-width": 1.5 }],
      ["rect", { x: lastX - 1.5, y: lastY - 1.5, width: 3, height: 3, fill: "currentColor" }],
    ],
  );
}
