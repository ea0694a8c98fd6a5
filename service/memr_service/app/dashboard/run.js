/** One run: its facts, and tabs for curves, completions, prompts, suspects, map, explanations and audits. */

import { audits } from "./audits.js";
import { completions } from "./completions.js";
import { curves } from "./curves.js";
import { element, facts, table } from "./element.js";
import { explain } from "./explain.js";
import { History } from "./history.js";
import { map } from "./map.js";
import { percent, short, when } from "./number.js";
import { poll } from "./poll.js";
import { prompt } from "./prompt.js";
import { prompts } from "./prompts.js";
import { at, get } from "./server.js";
import { suspects } from "./suspects.js";

const TABS = { curves: "Curves", completions: "Completions", prompts: "Prompts", suspects: "Suspects", map: "Map", explain: "Explain", audits: "Audits" };
const EVERY_S = 5;

export async function run(main, signal, name, tab = "curves", ...rest) {
  const info = await get(at(name), signal);
  const head = element("div", {}, about(info));
  const body = element("div");
  const link = ([key, title]) =>
    element(
      "a",
      { href: `#/run/${encodeURIComponent(name)}/${key}`, "aria-current": key === tab ? "page" : null },
      title,
    );
  main.replaceChildren(
    element("h1", {}, name),
    head,
    element("nav", { class: "tabs", "aria-label": "Views of the run" }, Object.entries(TABS).map(link)),
    body,
  );
  if (tab === "curves") await live(name, info, head, body, signal);
  else if (tab === "completions") body.append(await completions(name, info, signal));
  else if (tab === "prompts") body.append(await (rest.length ? prompt(name, info, rest[0], signal) : prompts(name, signal)));
  else if (tab === "suspects") body.append(await suspects(name, signal));
  else if (tab === "map") body.append(await map(name, signal));
  else if (tab === "explain") body.append(await explain(name, rest, signal));
  else body.append(await audits(name, signal));
}

/** Curves and the run's facts, updated while the view is open. */
async function live(name, first, head, body, signal) {
  const history = new History(name);
  const shown = curves(first, signal);
  const windows = element("div");
  body.append(shown.box, windows);
  await poll(EVERY_S, signal, async () => {
    const info = await get(at(name), signal);
    if (!(await history.refresh(info, signal))) return;
    head.replaceChildren(about(info));
    shown.update(history);
    windows.replaceChildren(windowsOf(info));
  });
}

function about(info) {
  const { memory, config } = info;
  const held = (side) => {
    const { completions, prompts } = memory[side];
    return `${short(completions)} under ${short(prompts)} prompts (${percent(prompts / config.max_prompts)} full)`;
  };
  return facts({
    Preset: config.preset,
    Step: short(info.step),
    Records: `${short(info.position)} (accepted requests)`,
    ...(info.branch ? { Branch: `${short(info.branch)} (the run was restored, and goes on from a checkpoint)` } : {}),
    Successes: held("success"),
    Failures: held("failure"),
    "Prompts read for each completion (K)": short(config.k),
    Created: when(info.created_at),
  });
}

function windowsOf(info) {
  const rows = Object.entries(info.windows).map(([name, window]) => ({ name, ...window }));
  return table(
    "Windows now: the last raw values of each component, by which new ones are scaled",
    [
      { title: "Component", cell: (row) => row.name },
      { title: "Values", number: true, cell: (row) => short(row.count) },
      { title: "Minimum", number: true, cell: (row) => short(row.min) },
      { title: "Maximum", number: true, cell: (row) => short(row.max) },
    ],
    rows,
  );
}
