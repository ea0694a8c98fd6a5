/** A run's prompts: how their pass rates moved, and a list of them. */

import { toPrompt } from "./address.js";
import { Chart } from "./chart.js";
import { choice, element, facts, table } from "./element.js";
import { heatMap, kindsOf } from "./heat.js";
import { Lens } from "./lens.js";
import { Listing } from "./listing.js";
import { percent, short } from "./number.js";
import { axis, interval, SOURCES } from "./prompt.js";
import { saveTable } from "./save.js";
import { at, get } from "./server.js";

const SHOWN = {
  "": "all",
  solved: "solved",
  learnable: "learnable",
  impossible: "impossible",
  unseen: "unseen",
  unvisited: "not visited by this run",
};

export async function prompts(run, signal) {
  const moved = element("div", { class: "charts pair" });
  const listing = new Listing("Prompts", {
    query: { sort: "step", ascending: false, kind: "", visited: "", text: "" },
    load: (query) => get(at(run, "/prompts", query), signal),
    columns,
    above,
    signal,
  });
  const { query } = listing;
  const text = element("input", { type: "search", maxlength: "1000", size: "24", value: query.text });
  const show = (value) =>
    listing.change(value === "unvisited" ? { kind: "", visited: false } : { kind: value, visited: "" });
  const bar = element(
    "form",
    { class: "bar", submit: (event) => (event.preventDefault(), listing.change({ text: text.value })) },
    choice("Prompts", SHOWN, query.visited === "" ? query.kind : "unvisited", show),
    element("label", {}, "Id or text", text),
    element("button", { type: "submit" }, "Search"),
    element("button", { type: "button", click: csv, "aria-label": "Save the page of prompts as CSV" }, "CSV"),
  );

  function above({ kinds, group_size }) {
    return [
      facts({
        Solved: short(kinds.solved),
        Learnable: short(kinds.learnable),
        Impossible: short(kinds.impossible),
        Unseen: short(kinds.unseen),
        "Group size": short(group_size),
      }),
      element(
        "p",
        { class: "note" },
        "Solved or impossible: the next group is all right, or all wrong, with probability .9 or more.",
      ),
    ];
  }

  function columns() {
    return [
      { title: "Prompt", text: true, cell: (row) => element("a", { href: toPrompt(run, row.key) }, named(row)) },
      { title: "Kind", brief: true, cell: (row) => row.kind },
      listing.sorted("Pass rate", "p", (row) => short(row.p, 2)),
      { title: "90 % interval", brief: true, cell: interval },
      listing.sorted("Spread", "spread", (row) => percent(row.spread)),
      listing.sorted("Visits", "visits", (row) => short(row.visits)),
      listing.sorted("Last step", "step", (row) => short(row.step)),
      { title: "Known from", brief: true, cell: (row) => SOURCES[row.source] },
    ];
  }

  function csv() {
    const names = ["key", "prompt_id", "prompt", "kind", "p", "low", "high", "spread", "visits", "step", "source"];
    saveTable(
      `${run} prompts`,
      names,
      names.map((name) => listing.rows.map((row) => row[name])),
    );
  }

  await listing.update();
  moved.append(...over(await get(at(run, "/pass-rates"), signal), signal));
  return element("section", {}, moved, bar, listing.box);
}

const named = ({ key, prompt_id, prompt }) => [prompt_id, prompt].filter(Boolean).join(": ") || key;

/** Figures of how the pass rates moved. */
function over({ rows, first_position }, signal) {
  if (!rows.length) return [element("p", {}, "No completions yet.")];
  const across = axis(rows);
  const from = first_position > 1 ? `, from record ${short(first_position)} on` : "";
  const lens = new Lens({ smooths: false });
  const kinds = new Chart(
    "Kinds of prompts",
    `visited or known from prior runs${from}`,
    ["solved", "learnable", "impossible"].map((kind) => ({ label: kind, value: (row) => row[kind] })),
    { signal, lens, whole: true, height: 260 },
  );
  kinds.update(
    rows,
    rows.map((row) => row[across]),
    across,
  );
  return [
    heatMap(
      "Pass rates",
      `stronger colour: more prompts; top: always right${from}`,
      rows,
      across,
      (row) => `After ${across} ${short(row[across])}: ${kindsOf(row)}.`,
      signal,
    ),
    element("div", {}, kinds.figure, lens.box),
  ];
}
