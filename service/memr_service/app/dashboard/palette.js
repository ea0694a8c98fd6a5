/** Colours that people with any colour vision can tell apart (Okabe and Ito 2008), each with a dash of its own. */

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2]];

export const WRONG = "#D55E00";
export const RIGHT = "#0072B2";

/** Colour and dash of the series of that number. */
export const stroke = (number) => ({ stroke: COLOURS[number % COLOURS.length], dash: DASHES[number % DASHES.length] });

/** The colour, so far through. */
export const veil = (colour, share) =>
  colour +
  Math.round(255 * share)
    .toString(16)
    .padStart(2, "0");

/** Between the oldest (0) and the newest (1): from orange to a darker blue. */
export function age(share) {
  const mix = (from, to) => Math.round(from + (to - from) * share);
  return `rgb(${mix(230, 0)} ${mix(159, 90)} ${mix(0, 200)})`;
}

/** What the page's theme makes of ink, faint lines and paper, as a canvas needs it. */
export function theme() {
  const made = getComputedStyle(document.body);
  return {
    ink: made.color,
    paper: made.backgroundColor,
    line: made.color.replace("rgb(", "rgba(").replace(")", ", 0.15)"),
  };
}

const THEME = "memr-theme";

/** The button that changes between light and dark; the system decides until it is first pressed. */
export function themeButton(button, changed) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => localStorage.getItem(THEME) ?? (dark.matches ? "dark" : "light");
  const show = () => {
    if (localStorage.getItem(THEME)) document.documentElement.dataset.theme = current();
    button.textContent = current() === "dark" ? "Light" : "Dark";
    changed();
  };
  button.addEventListener("click", () => {
    localStorage.setItem(THEME, current() === "dark" ? "light" : "dark");
    show();
  });
  dark.addEventListener("change", show);
  show();
}
