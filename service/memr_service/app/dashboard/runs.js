/** The list of the server's runs: which are alive, and how they do. */

import { keep, state } from "./address.js";
import { element, table } from "./element.js";
import { ago, short, when } from "./number.js";
import { poll } from "./poll.js";
import { get } from "./server.js";
import { sparkline } from "./sparkline.js";

const EVERY_S = 10;
const PAGE = 50;
const ALIVE_S = 300;
const SORTED = { true: "descending", false: "ascending" };

/** Column -> what it sorts by. Runs without the value come last. */
const KEYS = {
  name: (run) => run.run_id,
  activity: (run) => run.recent && Date.parse(run.recent.at),
  step: (run) => run.step,
  outcome: (run) => run.recent?.outcome.at(-1),
  reward: (run) => run.recent?.reward.at(-1),
  alarms: (run) => run.alarms,
  size: (run) => run.memory.success.completions + run.memory.failure.completions,
  created: (run) => Date.parse(run.created_at),
};

export async function runs(main, signal) {
  const first = { sort: "activity", up: "", text: "", page: "0" };
  const query = { ...first, ...state() };
  const chosen = new Set();
  const box = element("div");
  const server = element("p", { class: "note" });
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
  const text = element("input", { type: "search", size: "24", value: query.text, input: () => change({ text: text.value }) });
  main.replaceChildren(
    element("h1", {}, "Runs"),
    server,
    element(
      "form",
      { class: "bar", submit: (event) => event.preventDefault() },
      element("label", {}, "Name, preset or component", text),
      compare,
      element("span", { class: "note" }, "Choose two or more runs."),
    ),
    box,
  );

  let found = [];
  let drawn = [];
  function change(more) {
    Object.assign(query, { page: "0", ...more });
    keep(Object.fromEntries(Object.entries(query).map(([name, value]) => [name, value === first[name] ? "" : value])));
    show();
  }

  /** Draw the runs that match. The focused control keeps the focus, although the table is replaced. */
  function show() {
    drawn = [];
    const focused = document.activeElement?.dataset.name;
    const wanted = found.filter((run) => described(run).includes(query.text.toLowerCase()));
    const ordered = wanted.toSorted(order(KEYS[query.sort] ?? KEYS.activity, Boolean(query.up)));
    const from = Math.min(Number(query.page) || 0, Math.floor(Math.max(0, ordered.length - 1) / PAGE)) * PAGE;
    const shown = ordered.slice(from, from + PAGE);
    const range = ordered.length > PAGE ? `${from + 1} to ${from + shown.length} of ${short(ordered.length)}` : short(ordered.length);
    const pager = (title, page, possible) =>
      element(
        "button",
        { type: "button", "data-name": title, disabled: !possible, click: () => change({ page: String(page) }) },
        title,
      );
    box.replaceChildren(
      ...(found.length
        ? [table(`Runs on this server: ${range}`, columns(), shown)]
        : [element("p", {}, "No runs yet. The first POST /reward creates one.")]),
      ...(ordered.length > PAGE
        ? [pager("Previous page", from / PAGE - 1, from > 0), " ", pager("Next page", from / PAGE + 1, from + PAGE < ordered.length)]
        : []),
    );
    if (focused) box.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
  }

  function columns() {
    const sorted = (title, sort, cell, kind = { number: true }) => ({
      title: element(
        "button",
        {
          type: "button",
          "data-name": sort,
          click: () => change({ sort, up: query.sort === sort ? (query.up ? "" : "1") : sort === "name" ? "1" : "" }),
        },
        title,
      ),
      head: { "aria-sort": query.sort === sort ? SORTED[!query.up] : null },
      cell,
      ...kind,
    });
    const series = (name, colour) => (run) =>
      run.recent &&
      element("span", { class: "spark" }, sparkline(name, run.recent[name], colour), short(run.recent[name].at(-1)));
    return [
      { title: "Compare", cell: select },
      sorted("Run", "name", named, {}),
      sorted("Last activity", "activity", activity, { brief: true }),
      sorted("Step", "step", (run) => short(run.step)),
      sorted("Outcome", "outcome", series("outcome", 0)),
      sorted("Reward", "reward", series("reward", 1)),
      sorted("Alarms", "alarms", alarms),
      sorted("Stored", "size", (run) => short(KEYS.size(run))),
      sorted("Created", "created", (run) => when(run.created_at), { brief: true }),
    ];
  }

  const select = ({ run_id }) =>
    element("input", {
      type: "checkbox",
      checked: chosen.has(run_id),
      "data-name": `compare ${run_id}`,
      "aria-label": `Compare ${run_id}`,
      change: (event) => choose(run_id, event.target.checked),
    });

  /** When the last completions came, which is told anew while the view is open. */
  function activity({ recent }) {
    if (!recent) return "no completions";
    const said = element("span");
    const tell = () => {
      const alive = Date.now() - Date.parse(recent.at) < 1000 * ALIVE_S;
      said.className = `state ${alive ? "alive" : "quiet"}`;
      said.textContent = ago(recent.at);
    };
    tell();
    drawn.push(tell);
    return [said, element("small", {}, when(recent.at))];
  }

  let before = "";
  await poll(EVERY_S, signal, async () => {
    found = (await get("runs?recent=true", signal)).runs;
    const now = JSON.stringify(found.map((run) => [run.run_id, run.branch, run.position, run.damaged, run.alarms]));
    if (now !== before) show();
    else for (const tell of drawn) tell(); // the table stays, and with it what is selected in it
    before = now;
  });
  const { version, encoder } = await get("version", signal);
  server.textContent = `memr ${version}, encoder ${encoder?.model ?? "not loaded yet"}`;
}

const described = ({ run_id, config }) =>
  [run_id, config.preset, ...Object.keys(config.components)].join(" ").toLowerCase();

/** Compares runs by a value; those without it come last. */
const order = (key, up) => (one, other) => {
  const [a, b] = [key(one) ?? null, key(other) ?? null];
  if (a === null || b === null) return (a === null) - (b === null);
  return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1);
};

function named({ run_id, config, damaged }) {
  const what = damaged ? `Damaged: ${damaged}` : `${config.preset}: ${Object.keys(config.components).join(", ")}`;
  return [element("a", { href: `#/run/${encodeURIComponent(run_id)}`, "data-name": `run ${run_id}` }, run_id), element("small", {}, what)];
}

function alarms({ run_id, alarms }) {
  if (alarms === null) return element("span", { title: "Not audited yet, or not in memory" }, "–");
  const href = `#/run/${encodeURIComponent(run_id)}/audits`;
  return element("a", { href, class: `state ${alarms ? "alarm" : "ok"}`, "aria-label": `${alarms} alarms` }, String(alarms));
}
