/** A run's prompts: how their pass rates moved, a list of them, and the visits of one. */

import { Chart } from "./chart.js";
import { choice, element, facts, table } from "./element.js";
import { heatMap, kindsOf } from "./heat.js";
import { Listing } from "./listing.js";
import { percent, short } from "./number.js";
import { saveTable } from "./save.js";
import { at, get, remove } from "./server.js";

const SHOWN = {
  "": "all",
  solved: "solved",
  learnable: "learnable",
  impossible: "impossible",
  unseen: "unseen",
  unvisited: "not visited by this run",
};

export const prompts = (run, [key], signal) => (key ? one(run, key, signal) : list(run, signal));

const address = (run, key) => `#/run/${encodeURIComponent(run)}/prompts${key ? `/${key}` : ""}`;

async function list(run, signal) {
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
      { title: "Prompt", text: true, cell: (row) => element("a", { href: address(run, row.key) }, nameOf(row)) },
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

const SOURCES = { own: "this run", prior: "prior runs", none: "other prompts" };
const nameOf = ({ key, prompt_id, prompt }) => [prompt_id, prompt].filter(Boolean).join(": ") || key;
const interval = ({ low, high }) => `${short(low, 2)} to ${short(high, 2)}`;

/** Figures of how the pass rates moved. */
function over({ rows, first_position }, signal) {
  if (!rows.length) return [element("p", {}, "No completions yet.")];
  const across = axis(rows);
  const from = first_position > 1 ? `, from record ${short(first_position)} on` : "";
  const kinds = new Chart(
    "Kinds of prompts",
    `visited or known from prior runs${from}`,
    ["solved", "learnable", "impossible"].map((kind) => ({ label: kind, value: (row) => row[kind] })),
    { signal, height: 260 },
  );
  draw(kinds, rows, across);
  return [
    heatMap(
      "Pass rates",
      `stronger colour: more prompts; top: always right${from}`,
      rows,
      across,
      (row) => `After ${across} ${short(row[across])}: ${kindsOf(row)}.`,
      signal,
    ),
    kinds.figure,
  ];
}

/** "step" if all rows have a step and the steps rise, otherwise "position". */
const axis = (rows) =>
  rows.every(({ step }, number) => step !== null && (number === 0 || step > rows[number - 1].step))
    ? "step"
    : "position";

/** Draw a chart as soon as it is on the page, where it has a width. */
const draw = (chart, rows, across) =>
  requestAnimationFrame(() =>
    chart.update(
      rows,
      rows.map((row) => row[across]),
      across,
    ),
  );

/** One prompt: what is known of it, its visits, and a button that forgets it. */
async function one(run, key, signal) {
  const { prompt, visits, first_position } = await get(at(run, `/prompts/${key}`), signal);
  const across = visits.length ? axis(visits) : "position";
  const chart = new Chart(
    "Right completions",
    "of each visit",
    [
      { label: "of the visit", value: (row) => row.right / row.n },
      { label: "pass rate after it", value: (row) => row.p },
    ],
    { signal, range: [0, 1], height: 220 },
  );
  const from = first_position > 1 ? `, from record ${short(first_position)} on` : "";
  const forget = async () => {
    if (!confirm(`Forget the pass rate of ${prompt.prompt_id ?? "this prompt"}? Its completions stay.`)) return;
    try {
      await remove(at(run, `/prompts/${key}`), signal);
      location.hash = address(run);
    } catch (error) {
      if (!signal.aborted) problem.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
  };
  const problem = element("div");
  if (visits.length) draw(chart, visits, across);
  return element(
    "section",
    {},
    element(
      "p",
      {},
      element("a", { href: address(run) }, "All prompts"),
      " · ",
      element("a", { href: `#/run/${encodeURIComponent(run)}/completions?prompt=${key}` }, "Completions of this prompt"),
    ),
    element("h2", {}, prompt.prompt_id ?? prompt.key),
    element("blockquote", {}, prompt.prompt ?? "The text is not kept."),
    facts({
      Kind: prompt.kind,
      "Pass rate": `${short(prompt.p, 2)} (90 %: ${interval(prompt)})`,
      Spread: percent(prompt.spread),
      Visits: short(prompt.visits),
      "Known from": SOURCES[prompt.source],
      Key: prompt.key,
    }),
    visits.length ? chart.figure : null,
    table(
      `Visits${from}`,
      [
        { title: "Step", number: true, cell: (row) => short(row.step) },
        { title: "Record", number: true, cell: (row) => short(row.position) },
        { title: "Right", number: true, cell: (row) => `${short(row.right)} of ${short(row.n)}` },
        { title: "Pass rate after it", number: true, cell: (row) => short(row.p, 2) },
      ],
      visits.toReversed(),
    ),
    prompt.source === "none"
      ? null
      : element("p", {}, element("button", { type: "button", click: forget }, "Forget this prompt"), " ", note()),
    problem,
  );
}

const note = () =>
  element("span", { class: "note" }, "The run then plans as if it had never seen the prompt. Its completions stay.");
