/** The list of the server's runs. */

import { element, table } from "./element.js";
import { short } from "./number.js";
import { poll } from "./poll.js";
import { get } from "./server.js";

const EVERY_S = 10;

export async function runs(main, signal) {
  const chosen = new Set();
  const box = element("div");
  const compare = element(
    "button",
    {
      type: "button",
      disabled: true,
      click: () => (location.hash = `#/compare/${[...chosen].map(encodeURIComponent).join(",")}`),
    },
    "Compare",
  );
  const choose = (name, on) => {
    chosen[on ? "add" : "delete"](name);
    compare.disabled = chosen.size < 2;
  };
  const select = ({ run_id }) =>
    element("input", {
      type: "checkbox",
      checked: chosen.has(run_id),
      "aria-label": `Compare ${run_id}`,
      change: (event) => choose(run_id, event.target.checked),
    });
  const columns = [
    { title: "Compare", cell: select },
    { title: "Run", brief: true, cell: (run) => element("a", { href: `#/run/${encodeURIComponent(run.run_id)}` }, run.run_id) },
    {
      title: "Preset",
      cell: ({ config, damaged }) =>
        damaged ? `Damaged: ${damaged}` : `${config.preset}: ${Object.keys(config.components).join(", ")}`,
    },
    { title: "Step", number: true, cell: (run) => short(run.step) },
    { title: "Records", number: true, cell: (run) => short(run.position) },
    { title: "Successes", number: true, cell: (run) => short(run.memory.success.completions) },
    { title: "Failures", number: true, cell: (run) => short(run.memory.failure.completions) },
    { title: "Created", brief: true, cell: (run) => run.created_at.slice(0, 16).replace("T", " ") },
  ];
  main.replaceChildren(
    element("h1", {}, "Runs"),
    element("p", {}, compare, " ", element("span", { class: "note" }, "Choose two or more runs.")),
    box,
  );
  let shown = "";
  await poll(EVERY_S, signal, async () => {
    const found = (await get("runs", signal)).runs;
    const state = JSON.stringify(found.map((run) => [run.run_id, run.branch, run.position, run.damaged]));
    if (state === shown) return; // unchanged: the focused control keeps the focus
    shown = state;
    box.replaceChildren(
      found.length
        ? table("Runs on this server", columns, found)
        : element("p", {}, "No runs yet. The first POST /reward creates one."),
    );
  });
}
