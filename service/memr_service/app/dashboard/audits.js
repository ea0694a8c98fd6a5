/** A run's audits: what may be going wrong, and what to do about it. */

import { element, table } from "./element.js";
import { short } from "./number.js";
import { at, get } from "./server.js";

const WORST_FIRST = ["alarm", "warn", "unknown", "ok"];

export async function audits(run, signal) {
  const told = await get(at(run, "/audits"), signal);
  if (!told.recent) return element("p", {}, "Nothing to audit yet.");
  const { recent } = told;
  const sorted = [...told.audits].sort((a, b) => WORST_FIRST.indexOf(a.state) - WORST_FIRST.indexOf(b.state));
  return element(
    "section",
    {},
    element(
      "p",
      {},
      `The newest ${short(recent.completions)} completions (records ${recent.first_position} to ${recent.position}) `,
      `beside the run's first ${short(told.baseline.completions)}. `,
      "An audit is a reason to read samples, not a verdict. ",
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
        { title: "What it is, and what to do", prose: true, cell: advice },
      ],
      sorted,
    ),
  );
}

function advice({ state, says, remedy }) {
  const fires = state === "warn" || state === "alarm";
  return element("span", {}, says, fires ? element("strong", {}, ` ${remedy}`) : null);
}
