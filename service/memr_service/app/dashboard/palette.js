/** Colours. The first six can be told apart with any colour vision (Okabe and Ito 2008); each has its own dash pattern. */

const COLOURS = [
  ...["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
  ...["#8B6BE8", "#8C7A2B", "#D6336C", "#5F9E00", "#8A8F98", "#A0522D"],
];
const DASHES = [
  ...[[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2]],
  ...[[14, 4], [8, 2, 2, 2, 2, 2], [4, 6], [12, 2, 4, 2], [6, 6], [3, 1]],
];

/** How many series can be told apart. */
export const DISTINCT = COLOURS.length;

export const WRONG = "#D55E00";
export const RIGHT = "#0072B2";

/** Colour and dash of a series, by its number. */
export const stroke = (number) => ({ stroke: COLOURS[number % COLOURS.length], dash: DASHES[number % DASHES.length] });

/** The colour with this opacity (0 to 1). */
export const translucent = (colour, share) =>
  colour +
  Math.round(255 * share)
    .toString(16)
    .padStart(2, "0");

/** The colour of a share from 0 (nothing) to 1 (most), on the theme's background. */
export function heat(share) {
  const dark = Number(theme().paper.match(/\d+/)[0]) < 128;
  return translucent(dark ? "#56B4E9" : "#0072B2", 0.12 + 0.88 * share);
}

/** The colour of an age from oldest (0) to newest (1): orange to dark blue. */
export function age(share) {
  const mix = (from, to) => Math.round(from + (to - from) * share);
  return `rgb(${mix(230, 0)} ${mix(159, 90)} ${mix(0, 200)})`;
}

/** The theme's colours for a canvas: text (ink), background (paper), and faint lines. */
export function theme() {
  const made = getComputedStyle(document.body);
  return {
    ink: made.color,
    paper: made.backgroundColor,
    line: made.color.replace("rgb(", "rgba(").replace(")", ", 0.15)"),
  };
}

const THEME = "memr-theme";

/** The button that switches between light and dark. Until it is pressed, the system's setting applies. */
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
