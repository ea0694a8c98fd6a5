/** A run's completions, sorted, filtered and paged by the service. */

import { choice, element, table } from "./element.js";
import { short } from "./number.js";
import { at, get } from "./server.js";

const PAGE = 50;
const SORTED = { true: "descending", false: "ascending" };

export async function completions(run, info, signal) {
  const names = Object.keys(info.config.components);
  const query = { sort: "position", ascending: false, right: "", step: "", text: "", offset: 0 };
  const box = element("div", { "aria-live": "polite" });
  let calls = 0;
  const step = element("input", { type: "number", min: "0", size: "8" });
  const text = element("input", { type: "search", maxlength: "1000", size: "24" });
  const submit = (event) => (event.preventDefault(), change({ step: step.value, text: text.value }));
  const bar = element(
    "form",
    { class: "bar", submit },
    choice("Outcome", { "": "all", true: "right", false: "wrong" }, "", (right) => change({ right })),
    element("label", {}, "Step", step),
    element("label", {}, "Text", text),
    element("button", { type: "submit" }, "Show"),
  );

  /** Change the query and show its result. The focused control keeps the focus, although the table is replaced. */
  async function change(more) {
    Object.assign(query, { offset: 0, ...more });
    const focused = document.activeElement?.dataset.name;
    try {
      await show();
    } catch (error) {
      if (!signal.aborted) box.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
    box.querySelector(`[data-name="${focused}"]`)?.focus();
  }

  async function show() {
    const mine = ++calls;
    const found = await get(at(run, "/completions", { ...query, limit: PAGE }), signal);
    const { rows, matching, searched, first_position } = found;
    if (mine !== calls) return; // the query has changed since
    const last = Math.min(query.offset + PAGE, matching);
    const pageButton = (title, offset, possible) =>
      element(
        "button",
        { type: "button", "data-name": title, disabled: !possible, click: () => change({ offset }) },
        title,
      );
    const shown = matching ? `${short(query.offset + 1)} to ${short(last)} of ${short(matching)}` : "none";
    const from = first_position > 1 ? `, from record ${short(first_position)} on` : "";
    const among = searched === null ? "" : `, among the first ${short(searched)} in this order`;
    box.replaceChildren(
      table(`Completions: ${shown}${from}${among}`, columns(), rows),
      element(
        "p",
        {},
        pageButton("Previous page", Math.max(0, query.offset - PAGE), query.offset > 0),
        " ",
        pageButton("Next page", query.offset + PAGE, last < matching),
      ),
    );
  }

  function columns() {
    const sortable = (title, sort, cell) => ({
      title: sorter(title, sort),
      head: { "aria-sort": query.sort === sort ? SORTED[!query.ascending] : null },
      number: true,
      cell,
    });
    return [
      {
        title: "Explain",
        cell: (row) =>
          element(
            "a",
            {
              href: `#/run/${encodeURIComponent(run)}/explain/${row.position}/${row.item}`,
              "aria-label": `Explain item ${row.item} of record ${row.position}`,
            },
            `${row.position}.${row.item}`,
          ),
      },
      sortable("Newest", "position", (row) => (row.step === null ? "–" : `step ${row.step}`)),
      sortable("Outcome", "outcome", (row) => short(row.outcome)),
      sortable("Reward", "reward", (row) => short(row.reward)),
      { title: "Completion", text: true, cell: (row) => row.completion ?? "not kept" },
      { title: "Prompt", text: true, cell: (row) => row.prompt ?? "not kept" },
      ...names.map((name) => sortable(name, name, (row) => `${short(row.raw[name])} → ${short(row.scaled[name])}`)),
      sortable("Length", "length", (row) => short(row.length)),
      { title: "Rejected", cell: (row) => row.rejected.join(", ") },
    ];
  }

  function sorter(title, sort) {
    const mark = query.sort === sort ? (query.ascending ? " ▲" : " ▼") : "";
    const ascending = query.sort === sort && !query.ascending;
    return element(
      "button",
      { type: "button", "data-name": sort, click: () => change({ sort, ascending }) },
      title + mark,
    );
  }

  await show();
  return element("section", {}, bar, box);
}
