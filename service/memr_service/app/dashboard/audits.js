/** A run's audits: signs of collapse, and what to do. */

import { element, table } from "./element.js";
import { short } from "./number.js";
import { at, get } from "./server.js";

/** Audit -> which completions show what it found. Those without an entry: the newest. */
const SAMPLES = {
  reward_mode: { sort: "reward", right: "false" },
  length_short: { sort: "length", ascending: "true" },
  length_long: { sort: "length" },
  truncation: { sort: "length" },
  component_share: { sort: "reward" },
  memory_share: { sort: "reward", right: "false" },
  repeated_failures: { right: "false" },
  zero_variance: { sort: "outcome" },
};
const COMPONENT_SAMPLES = { auc_leak: { right: "true" }, auc_inverted: { right: "false" }, explore_drift: {} };

export async function audits(run, signal) {
  const { recent, baseline, audits } = await get(at(run, "/audits"), signal);
  if (!recent) return element("p", {}, "No completions to audit yet. The first POST /reward to this run brings some.");
  const compared = baseline && baseline.position < recent.first_position;
  const samples = (audit) => element("a", { href: sampleAddress(run, recent, audit) }, "See these completions");
  return element(
    "section",
    {},
    element(
      "p",
      {},
      `The newest ${short(recent.completions)} completions (records ${recent.first_position} to ${recent.position})`,
      compared ? `, compared with the run's first ${short(baseline.completions)}. ` : ". Nothing is compared yet. ",
      "An alarm is a reason to read completions, not proof of a collapse. The worst come first.",
    ),
    table(
      "Audits",
      [
        { title: "State", cell: (one) => element("span", { class: `state ${one.state}` }, one.state) },
        { title: "Audit", cell: (one) => `${one.name} ${one.about}` },
        { title: "Figure", number: true, cell: (one) => short(one.value) },
        { title: "Warns, alarms", brief: true, cell: limits },
        { title: "At first", number: true, cell: (one) => short(one.baseline) },
        { title: "What the figure is, and what to do", prose: true, cell: (one) => advice(one, samples) },
      ],
      audits,
    ),
  );
}

function limits({ beyond, warn, limit }) {
  const sign = beyond === "below" ? "<" : ">";
  return `${sign} ${short(warn, 2)}, ${sign} ${short(limit, 2)}`;
}

function advice(audit, samples) {
  const { state, says, remedy, waits_for } = audit;
  if (state === "unknown") return [says, element("div", { class: "note" }, `Unknown. It waits for ${waits_for}.`)];
  if (state === "ok") return says;
  return [says, element("div", {}, element("strong", {}, "What to do: "), remedy, " ", samples(audit), ".")];
}

/** Where the completions are that an audit is about. */
function sampleAddress(run, { first_position }, { name, about }) {
  const after = first_position > 1 ? { after: first_position - 1 } : {};
  const asked = name in COMPONENT_SAMPLES ? { sort: about, ...COMPONENT_SAMPLES[name] } : SAMPLES[name];
  return `#/run/${encodeURIComponent(run)}/completions?${new URLSearchParams({ ...asked, ...after })}`;
}
