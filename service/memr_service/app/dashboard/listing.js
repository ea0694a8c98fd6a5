/** A table whose rows the service sorts, filters and pages. */

import { keep, state } from "./address.js";
import { element, table } from "./element.js";
import { short } from "./number.js";

const PAGE = 50;
const SORTED = { true: "descending", false: "ascending" };

/** `box` holds the table and its pager. Until the first `update` it is empty.
 *
 * `query`: { sort, ascending, ...filters } as they are at first. What the address says goes before it, and what is
 * changed later is kept there. `load(query)` asks the service for one page:
 * { rows, matching, searched, first_position? }. `columns()` gives the table's columns, `above(found)`, if
 * given, elements above the table. Nothing is shown once the signal has aborted.
 */
export class Listing {
  constructor(title, { query, load, columns, above = () => [], signal }) {
    Object.assign(this, { title, load, columns, above, signal, rows: [], first: { ...query, offset: 0 } });
    const asked = state();
    const named = Object.keys(this.first).filter((name) => name in asked);
    this.query = { ...this.first, ...Object.fromEntries(named.map((name) => [name, read(asked[name], this.first[name])])) };
    this.box = element("div", { "aria-live": "polite" });
    this.calls = 0;
    document.addEventListener("again", () => this.change({ offset: this.query.offset }), { signal });
  }

  /** Change the query and show the first page of its result. The focused control keeps the focus, although the table is
   *  replaced. */
  async change(more) {
    Object.assign(this.query, { offset: 0, ...more });
    keep(Object.fromEntries(Object.entries(this.query).map(([name, value]) => [name, value === this.first[name] ? "" : value])));
    const focused = document.activeElement?.dataset.name;
    try {
      await this.update();
    } catch (error) {
      if (!this.signal.aborted && !error.told) this.box.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
    this.box.querySelector(`[data-name="${focused}"]`)?.focus();
  }

  async update() {
    const mine = ++this.calls;
    const found = await this.load({ ...this.query, limit: PAGE });
    if (mine !== this.calls) return; // the query has changed since
    this.rows = found.rows;
    this.box.replaceChildren(
      ...this.above(found),
      table(`${this.title}: ${this.#range(found)}`, this.columns(), found.rows),
      this.#pager(found),
    );
  }

  /** A column of numbers by which the service sorts as `sort`. */
  sorted(title, sort, cell) {
    const { query } = this;
    const click = () => this.change({ sort, ascending: query.sort === sort && !query.ascending });
    return {
      title: element("button", { type: "button", "data-name": sort, click }, title),
      head: { "aria-sort": query.sort === sort ? SORTED[!query.ascending] : null },
      number: true,
      cell,
    };
  }

  /** Which rows these are, of how many. */
  #range({ matching, searched, first_position }) {
    const { offset } = this.query;
    const rows = matching
      ? `${short(offset + 1)} to ${short(Math.min(offset + PAGE, matching))} of ${short(matching)}`
      : "none";
    const from = first_position > 1 ? `, from record ${short(first_position)} on` : "";
    const among = searched === null ? "" : `, among the first ${short(searched)} in this order`;
    return rows + from + among;
  }

  #pager({ matching }) {
    const { offset } = this.query;
    const button = (title, to, possible) =>
      element(
        "button",
        { type: "button", "data-name": title, disabled: !possible, click: () => this.change({ offset: to }) },
        title,
      );
    return element(
      "p",
      {},
      button("Previous page", Math.max(0, offset - PAGE), offset > 0),
      " ",
      button("Next page", offset + PAGE, offset + PAGE < matching),
    );
  }
}

/** A value of the address, as what the value is at first. */
function read(text, first) {
  if (typeof first === "boolean") return text === "true";
  return typeof first === "number" ? Number(text) : text;
}
