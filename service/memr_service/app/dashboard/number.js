/** Formatting of numbers. */

/** A number with few digits, or a dash if there is none. */
export function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return (value + 0).toLocaleString("en"); // -0 is 0
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(digits);
}

/** A share as a percentage. */
export function percent(value) {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
}

const UNITS = [
  ["s", 1],
  ["min", 60],
  ["h", 3600],
  ["d", 86_400],
];

/** How long ago a moment was, in one unit. */
export function ago(moment, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(moment)) / 1000);
  const [unit, size] = UNITS.findLast(([, size]) => seconds >= size) ?? UNITS[0];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

const WHEN = new Intl.DateTimeFormat("en-GB", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  timeZoneName: "short",
});

/** A moment in the reader's time zone, which is named. */
export const when = (moment) => WHEN.format(new Date(moment));

const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "long" });

/** The time of day in the reader's time zone, which is named. */
export const clock = (moment) => CLOCK.format(moment);

const BRIEF = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });

/** A number in some seven characters: 12,345 is 12.35K. */
export function brief(value) {
  if (Math.abs(value) >= 10_000) return BRIEF.format(value);
  return short(value, Math.abs(value) < 100 ? 3 : 1);
}
