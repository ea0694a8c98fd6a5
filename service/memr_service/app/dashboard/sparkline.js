/** A line without axes, as small as a word: where the newest value comes from. */

import { element } from "./element.js";
import { short } from "./number.js";
import { stroke, theme } from "./palette.js";

const WIDTH = 72;
const HEIGHT = 18;

/** The line of some values, oldest first, in the colour of a series. It is redrawn when the theme changes. */
export function sparkline(title, values, colour, signal) {
  const scale = devicePixelRatio;
  const canvas = element("canvas", {
    class: "sparkline",
    role: "img",
    width: String(WIDTH * scale),
    height: String(HEIGHT * scale),
    "aria-label": `${title} of the last ${values.length} steps: ${short(values[0])} to ${short(values.at(-1))}`,
  });
  const draw = () => {
    const brush = canvas.getContext("2d");
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const x = (at) => 2 + ((WIDTH - 4) * at) / Math.max(1, values.length - 1);
    const y = (value) => (high > low ? HEIGHT - 2 - ((HEIGHT - 4) * (value - low)) / (high - low) : HEIGHT / 2);
    brush.setTransform(scale, 0, 0, scale, 0, 0);
    brush.clearRect(0, 0, WIDTH, HEIGHT);
    Object.assign(brush, { strokeStyle: stroke(colour).stroke, fillStyle: theme().ink, lineWidth: 1.5 });
    brush.beginPath();
    values.forEach((value, at) => brush.lineTo(x(at), y(value)));
    brush.stroke();
    brush.fillRect(x(values.length - 1) - 1.5, y(values.at(-1)) - 1.5, 3, 3);
  };
  draw();
  document.addEventListener("themed", draw, { signal });
  return canvas;
}
