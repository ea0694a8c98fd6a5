/** Elements of the page. Text is inserted as text, so markup in a completion is never interpreted. */

/** An element. Attributes that are functions become listeners; null and false ones are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** A drawing (SVG) of some shapes: [name, attributes]. */
export function drawing(width, height, attributes, shapes) {
  const made = (name, given) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(given)) one.setAttribute(key, value);
    return one;
  };
  const whole = made("svg", { width, height, ...attributes });
  whole.append(...shapes.map(([name, given]) => made(name, given)));
  return whole;
}

/** A table in a scrolling box. A column has a `title` (text or element), a function `cell(row)`, optionally attributes
 *  of its head (`head`), and one of the flags `number`, `text` (of long texts beginning and end are seen), `prose`,
 *  `brief` and `long` (its title too). On narrow screens a table with long texts or many columns shows each row as a list. */
export function table(caption, columns, rows) {
  const classes = (column) => ({ class: ["number", "text", "prose", "brief", "long"].find((kind) => column[kind]) });
  const head = columns.map((column) =>
    element("th", { scope: "col", ...classes(column), ...column.head }, column.title),
  );
  const body = rows.map((row) =>
    element(
      "tr",
      {},
      columns.map((column) => element("td", { ...classes(column), "data-title": titleOf(column) }, cell(column, row))),
    ),
  );
  const stacks = columns.length > MOST_NARROW || columns.some((column) => column.text || column.prose || column.long);
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element(
      "table",
      { class: stacks ? "stacks" : null },
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, head)),
      element("tbody", {}, body),
    ),
  );
}

const MOST_NARROW = 4; // columns that a narrow screen has room for

const titleOf = ({ title }) => (typeof title === "string" ? title : title.textContent);

function cell(column, row) {
  const made = column.cell(row) ?? "–";
  if (!column.text) return made;
  const [text, ...below] = [made].flat();
  return [typeof text === "string" ? excerpt(text) : element("div", {}, text), below].flat();
}

const FIRST_CHARS = 90;
const SHORT_CHARS = 240;
const SHORT_LINES = 5;

/** A text of which the beginning and the end are seen, where the answer is; the style sheet hides what is between. */
function excerpt(text) {
  const lines = text.split("\n");
  if (text.length <= SHORT_CHARS && lines.length <= SHORT_LINES) return element("div", {}, text);
  const first = Math.max(1, text.slice(0, FIRST_CHARS).lastIndexOf(" "));
  return [
    element("div", { class: "first" }, text.slice(0, first)),
    element("div", { class: "last" }, element("div", {}, text.slice(first))),
  ];
}

/** A list of names and values. */
export function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    Object.entries(pairs).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/** A drop-down list of values: { value: title }. */
export function choice(label, values, chosen, change) {
  const options = Object.entries(values).map(([value, title]) =>
    element("option", { value, selected: value === chosen }, title),
  );
  const select = element("select", { change: () => change(select.value) }, options);
  return element("label", {}, label, select);
}
