/** Elements of the page. Text goes in as text: whatever a completion holds, it is never read as markup. */

/** An element; attributes that are functions are listeners, those that are null or false are left out. */
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

/** A table in a box that scrolls. A column: { title, cell(row), and number, text (long ones are cut), prose or
 *  brief if it is }, with attributes of its head under `head`; a title may be an element. */
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
  return column.text ? element("div", {}, made) : made; // which shows the first lines of long ones
}

/** Names and values beside each other. */
export function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    Object.entries(pairs).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/** A choice of some values: { value: title }. */
export function choice(label, values, chosen, change) {
  const options = Object.entries(values).map(([value, title]) =>
    element("option", { value, selected: value === chosen }, title),
  );
  const select = element("select", { change: () => change(select.value) }, options);
  return element("label", {}, label, select);
}
