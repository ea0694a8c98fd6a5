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

/** A table in a scrolling box. A column has a `title` (text or element), a function `cell(row)`, optionally attributes
 *  of its head (`head`), and one of the flags `number`, `text` (long texts are cut), `prose` and `brief`. */
export function table(caption, columns, rows) {
  const classes = (column) => ({ class: ["number", "text", "prose", "brief"].find((kind) => column[kind]) });
  const head = columns.map((column) =>
    element("th", { scope: "col", ...classes(column), ...column.head }, column.title),
  );
  const body = rows.map((row) =>
    element(
      "tr",
      {},
      columns.map((column) => element("td", classes(column), cell(column, row))),
    ),
  );
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, head)),
      element("tbody", {}, body),
    ),
  );
}

function cell(column, row) {
  const made = column.cell(row) ?? "–";
  return column.text ? element("div", {}, made) : made; // the style sheet cuts it after some lines
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
