/** A run's audits: signs of collapse, and what to do. */

import { element, table } from "./element.js";
import { short } from "./number.js";
import { at, get } from "./server.js";

const WORST_FIRST = ["alarm", "warn", "unknown", "ok"];

export async function audits(run, signal) {
  const found = await get(at(run, "/audits"), signal);
  if (!found.recent) return element("p", {}, "No completions to audit yet.");
  const { recent } = found;
  const sorted = [...found.audits].sort((a, b) => WORST_FIRST.indexOf(a.state) - WORST_FIRST.indexOf(b.state));
  return element(
    "section",
    {},
    element(
      "p",
      {},
      `The newest ${short(recent.completions)} completions (records ${recent.first_position} to ${recent.position}), `,
      `compared with the run's first ${short(found.baseline.completions)}. `,
      "An alarm is a reason to read completions, not proof of a collapse. ",
      "Unknown: too few completions, or nothing to compare with.",
    ),
    table(
      "Audits",
      [
        { title: "State", cell: (one) => element("span", { class: `state ${one.state}` }, one.state) },
        { title: "Audit", cell: (one) => `${one.name} ${one.about}` },
        { title: "Now", number: true, cell: (one) => short(one.value) },
        { title: "At first", number: true, cell: (one) => short(one.baseline) },
        { title: "Alarm beyond", number: true, cell: (one) => short(one.limit) },
        { title: "What it measures, and what to do", prose: true, cell: advice },
      ],
      sorted,
    ),
  );
}

function advice({ state, says, remedy }) {
  const fires = state === "warn" || state === "alarm";
  return element("span", {}, says, fires ? element("strong", {}, ` ${remedy}`) : null);
}
