/** Compares several runs on one chart. */

import { Chart } from "./chart.js";
import { choice, element } from "./element.js";
import { History } from "./history.js";
import { poll } from "./poll.js";
import { at, get } from "./server.js";

const EVERY_S = 5;

export async function compare(main, signal, list) {
  const names = list.split(",").map(decodeURIComponent);
  const infos = await Promise.all(names.map((name) => get(at(name), signal)));
  const histories = names.map((name) => new History(name));
  const measures = measuresOf(infos);
  const charts = element("div");
  let chosen = "outcome";
  main.replaceChildren(
    element("h1", {}, `Compare ${names.join(", ")}`),
    element(
      "form",
      { class: "bar" },
      choice(
        "Measure",
        Object.fromEntries(Object.entries(measures).map(([key, { title }]) => [key, title])),
        chosen,
        (key) => ((chosen = key), begin()),
      ),
    ),
    charts,
  );

  let chart = null;
  function begin() {
    const lines = names.map((name, number) => ({ label: name, value: (row) => row[number] }));
    chart = new Chart(measures[chosen].title, "per step", lines, { signal, height: 420 });
    charts.replaceChildren(chart.figure);
    draw();
  }

  function draw() {
    const series = histories.map(
      (history) => new Map(history.x.map((x, at) => [x, measures[chosen].value(history.rows[at])])),
    );
    const x = [...new Set(series.flatMap((one) => [...one.keys()]))].sort((a, b) => a - b);
    const across = histories.every((history) => history.across === "step") ? "step" : "step or position";
    chart.update(
      x.map((at) => series.map((one) => one.get(at))),
      x,
      across,
    );
  }

  begin();
  await poll(EVERY_S, signal, async () => {
    const now = await Promise.all(names.map((name) => get(at(name), signal)));
    const news = await Promise.all(histories.map((history, number) => history.refresh(now[number], signal)));
    if (news.some(Boolean)) draw();
  });
}

function measuresOf(infos) {
  const measures = {
    outcome: { title: "Outcome", value: (row) => row.outcome_mean },
    reward: { title: "Reward", value: (row) => row.reward_mean },
    length: { title: "Length, characters", value: (row) => row.length_mean },
    variance: { title: "Groups with equal outcomes", value: (row) => row.zero_variance_share },
  };
  for (const name of new Set(infos.flatMap((info) => Object.keys(info.config.components)))) {
    measures[`${name} raw`] = { title: `${name}, raw median`, value: (row) => row.components[name]?.raw?.p50 };
    measures[`${name} scaled`] = { title: `${name}, scaled mean`, value: (row) => row.components[name]?.scaled_mean };
  }
  return measures;
}
