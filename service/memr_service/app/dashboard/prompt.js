/** One prompt's whole history in a run: how its pass rate moved, its answers, its visits and its completions. */

import { toPrompt } from "./address.js";
import { Chart } from "./chart.js";
import { completions } from "./completions.js";
import { element, facts, table } from "./element.js";
import { Lens } from "./lens.js";
import { percent, short } from "./number.js";
import { at, get, remove } from "./server.js";

export const SOURCES = { own: "this run", prior: "prior runs", none: "other prompts" };

export const interval = ({ low, high }) => `${short(low, 2)} to ${short(high, 2)}`;

/** "step" if all rows have a step and the steps rise, otherwise "position". */
export const axis = (rows) =>
  rows.every(({ step }, number) => step !== null && (number === 0 || step > rows[number - 1].step)) ? "step" : "position";

export async function prompt(run, info, key, signal) {
  const found = await get(at(run, `/prompts/${key}`), signal);
  const { prompt, visits, first_position } = found;
  const from = first_position > 1 ? `, from record ${short(first_position)} on` : "";
  return element(
    "section",
    {},
    element("p", {}, element("a", { href: toPrompt(run) }, "All prompts")),
    element("h2", {}, prompt.prompt_id ? `Prompt ${prompt.prompt_id}` : "Prompt"),
    element("blockquote", { tabindex: "0" }, prompt.prompt ?? "The text is not kept."),
    facts({
      Kind: prompt.kind,
      "Pass rate": `${short(prompt.p, 2)} (90 %: ${interval(prompt)})`,
      "Next group has right and wrong ones": percent(prompt.spread),
      Visits: short(prompt.visits),
      "Known from": SOURCES[prompt.source],
      Key: prompt.key,
    }),
    visits.length ? moved(visits, signal) : null,
    answers(run, found),
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
    prompt.source === "none" ? null : forgetting(run, prompt, signal),
    element("h2", {}, "Its completions"),
    await completions(run, info, signal, key),
  );
}

/** A chart of how the pass rate moved. */
function moved(visits, signal) {
  const lens = new Lens({ smooths: false });
  const lines = [
    { label: "right, of the visit", value: (row) => row.right / row.n },
    { label: "pass rate after it", value: (row) => row.p },
  ];
  const chart = new Chart("Pass rate", "share of right completions", lines, { signal, lens, range: [0, 1], height: 220 });
  const across = axis(visits);
  chart.update(
    visits,
    visits.map((row) => row[across]),
    across,
  );
  return element("div", {}, lens.box, chart.figure);
}

/** Which answers were given how often. */
function answers(run, { answers, reference }) {
  if (!answers.length)
    return element(
      "p",
      { class: "note" },
      "No answers are counted. Trainers send answers and references, or the run's config says how to extract them.",
    );
  const all = answers.reduce((sum, { completions }) => sum + completions, 0);
  const newest = (row) => {
    const href = `#/run/${encodeURIComponent(run)}/explain/${row.serial}`;
    return element("a", { href, "aria-label": `Explain the newest completion with the answer ${row.answer}` }, "Explain");
  };
  return table(
    `Answers. The reference is ${reference ?? "not known"}`,
    [
      { title: "Answer", long: true, cell: (row) => [row.answer, row.answer === reference ? element("small", {}, "the reference") : ""] },
      { title: "Completions", number: true, cell: (row) => `${short(row.completions)} (${percent(row.completions / all)})` },
      { title: "In visits", number: true, cell: (row) => short(row.visits) },
      { title: "Judged right", number: true, cell: (row) => judged("right", row.right) },
      { title: "Judged wrong", number: true, cell: (row) => judged("wrong", row.wrong) },
      { title: "Newest", brief: true, cell: newest },
    ],
    answers,
  );
}

const judged = (kind, count) => (count ? element("span", { class: kind }, short(count)) : "0");

/** A button that makes the run forget the prompt's pass rate. */
function forgetting(run, prompt, signal) {
  const problem = element("div");
  const forget = async () => {
    if (!confirm(`Forget the pass rate of ${prompt.prompt_id ?? "this prompt"}? Its completions stay.`)) return;
    try {
      await remove(at(run, `/prompts/${prompt.key}`), signal);
      location.hash = toPrompt(run);
    } catch (error) {
      if (!signal.aborted) problem.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
  };
  return element(
    "div",
    {},
    element("p", {}, element("button", { type: "button", click: forget }, "Forget this prompt"), " ", note()),
    problem,
  );
}

const note = () =>
  element("span", { class: "note" }, "The run then plans as if it had never seen the prompt. Its completions stay.");
