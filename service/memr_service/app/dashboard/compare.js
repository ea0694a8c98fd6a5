/** Compares several runs: every measure over the steps, and what differs in their configs. */

import { decoded, keep, state } from "./address.js";
import { Chart } from "./chart.js";
import { element, table } from "./element.js";
import { History } from "./history.js";
import { Lens } from "./lens.js";
import { DISTINCT } from "./palette.js";
import { poll } from "./poll.js";
import { at, get } from "./server.js";

const EVERY_S = 5;
const FEW = 8; // differences that are shown at once

export async function compare(main, signal, list) {
  const asked = list.split(",").map(decoded);
  const names = asked.slice(0, DISTINCT);
  const infos = await Promise.all(names.map((name) => get(at(name), signal)));
  const histories = names.map((name) => new History(name));
  const lens = new Lens();
  const measures = measuresOf(infos).map(({ title, note, value }) => {
    const lines = names.map((name, number) => ({ label: name, value: (row) => row[number] }));
    return { value, chart: new Chart(title, note, lines, { signal, lens, empty: "No run has values of this yet." }) };
  });
  const wanted = element("input", {
    type: "search",
    size: "24",
    value: state().measures ?? "",
    input: () => (keep({ measures: wanted.value }), choose()),
  });
  lens.box.prepend(element("label", {}, "Measures that contain", wanted));
  const left = asked.length - names.length;
  main.replaceChildren(
    element("h1", {}, `Compare ${names.length} runs`),
    left ? element("p", { class: "note" }, `The first ${names.length} of ${asked.length}: more lines cannot be told apart.`) : "",
    differences(infos),
    lens.box,
    element("div", { class: "charts" }, measures.map(({ chart }) => chart.figure)),
  );

  function choose() {
    for (const { chart } of measures) chart.figure.hidden = !chart.title.toLowerCase().includes(wanted.value.toLowerCase());
  }

  function draw() {
    const places = histories.map((history) => new Map(history.x.map((x, place) => [x, place])));
    const x = [...new Set(histories.flatMap((history) => history.x))].sort((a, b) => a - b);
    const across = histories.every((history) => history.across === "step") ? "step" : "step or position";
    for (const { chart, value } of measures)
      chart.update(
        x.map((at) => histories.map(({ rows }, number) => (places[number].has(at) ? value(rows[places[number].get(at)]) : null))),
        x,
        across,
      );
  }

  choose();
  await poll(EVERY_S, signal, async () => {
    const now = await Promise.all(names.map((name) => get(at(name), signal)));
    const news = await Promise.all(histories.map((history, number) => history.refresh(now[number], signal)));
    if (news.some(Boolean)) draw();
  });
}

function measuresOf(infos) {
  const measure = (title, note, value) => ({ title, note, value });
  const components = [...new Set(infos.flatMap((info) => Object.keys(info.config.components)))];
  return [
    measure("Outcome", "mean per step", (row) => row.outcome_mean),
    measure("Reward", "mean per step", (row) => row.reward_mean),
    ...components.flatMap((name) => [
      measure(`${name}, raw`, "median", (row) => row.components[name]?.raw?.p50),
      measure(`${name}, scaled`, "mean", (row) => row.components[name]?.scaled_mean),
      measure(`${name}, share of the reward`, "", (row) => row.components[name]?.share),
    ]),
    measure("Length", "characters, mean", (row) => row.length_mean),
    measure("Groups with equal outcomes", "share of groups", (row) => row.zero_variance_share),
    measure("Diversity", "1 - mean cosine between siblings", (row) => row.diversity),
    measure("Successes in memory", "completions", (row) => row.memory.success.completions),
    measure("Failures in memory", "completions", (row) => row.memory.failure.completions),
  ];
}

/** The settings in which the configs differ, one a row. */
function differences(infos) {
  const settings = infos.map((info) => new Map(leaves(info.config)));
  const names = [...new Set(settings.flatMap((one) => [...one.keys()]))].sort();
  const rows = names
    .map((name) => ({ name, values: settings.map((one) => one.get(name) ?? "–") }))
    .filter(({ values }) => new Set(values).size > 1);
  const said = `Configs differ in ${rows.length} of ${names.length} settings`;
  if (!rows.length) return element("p", {}, "Their configs are equal.");
  const listed = table(
    said,
    [
      { title: "Setting", long: true, cell: (row) => row.name },
      ...infos.map(({ run_id }, number) => ({ title: run_id, long: true, cell: (row) => row.values[number] })),
    ],
    rows,
  );
  return element("details", { open: rows.length <= FEW }, element("summary", {}, said), listed);
}

/** The settings of a config, each with its dotted name and its value as text. */
function leaves(value, name = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [[name, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, name ? `${name}.${key}` : key));
}
