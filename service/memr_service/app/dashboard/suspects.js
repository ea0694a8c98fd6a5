/** A run's suspects: references and verdicts that the answers contradict, and decisions about references. */

import { toPrompt } from "./address.js";
import { element, facts, table } from "./element.js";
import { percent, short } from "./number.js";
import { saveTable } from "./save.js";
import { at, get, put } from "./server.js";

const LIMIT = 100;

export async function suspects(run, signal) {
  const box = element("div", { "aria-live": "polite" });
  const least = element("input", { type: "number", min: "0", max: "1", step: "0.05", value: "0.5" });
  const runs = element("input", { type: "text", size: "30", placeholder: "run, run" });
  let shown = [];
  let calls = 0;
  const bar = element(
    "form",
    { class: "bar", submit: (event) => (event.preventDefault(), tell(update)) },
    element("label", {}, "Least probability", least),
    element("label", {}, "Other runs that count", runs),
    element("button", { type: "submit" }, "Find"),
    element("button", { type: "button", click: csv, "aria-label": "Save the references as CSV" }, "CSV"),
  );

  /** Do something, and show why if it fails. */
  async function tell(work) {
    try {
      await work();
    } catch (error) {
      if (!signal.aborted) box.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  async function update() {
    const mine = ++calls;
    const others = runs.value.split(",").map((name) => name.trim()).filter(Boolean);
    const query = { min_probability: least.value, limit: LIMIT, runs: others };
    const found = await get(at(run, "/suspects", query), signal);
    if (mine !== calls) return; // the query has changed since
    shown = found.labels;
    box.replaceChildren(...view(run, found, decide));
  }

  const decide = (row, decision) =>
    tell(async () => {
      const { key, answer } = row;
      const one = decision === "replace" ? { key, decision, answer } : { key, decision };
      await put(at(run, "/decisions"), { decisions: [one], add: true }, signal);
      await update();
    });

  function csv() {
    if (!shown.length) return;
    const names = ["key", "prompt_id", "prompt", "reference", "answer", "probability", "share", "visits"];
    saveTable(
      `${run} suspects`,
      names,
      names.map((name) => shown.map((row) => row[name])),
    );
  }

  await update();
  return element("section", {}, bar, box);
}

function view(run, found, decide) {
  const prompt = { title: "Prompt", text: true, cell: (row) => element("a", { href: toPrompt(run, row.key) }, nameOf(row)) };
  if (!found.prompts) {
    const missing = "No references with answers yet. A trainer sends references, and answers unless the run has extract.";
    return [element("p", {}, missing)];
  }
  const more = found.accused > found.labels.length ? `, the first ${short(found.labels.length)}` : "";
  return [
    facts({
      References: short(found.prompts),
      Suspected: short(found.accused),
      Decided: short(found.decided),
      "Runs that count": found.runs.join(", "),
    }),
    element("p", { class: "note" }, `Calibrated on ${found.calibrated_on}`),
    table(`References that are likely wrong${more}`, labels(prompt, decide), found.labels),
    table(
      "Verdicts that do not fit the reference",
      [
        prompt,
        { title: "Judged", brief: true, cell: (row) => (row.kind === "missed" ? "wrong" : "right") },
        { title: "Completions", number: true, cell: (row) => short(row.completions) },
        { title: "Judged otherwise", number: true, cell: (row) => short(row.others) },
        { title: "Reference", text: true, cell: (row) => row.reference },
        { title: "Answer", text: true, cell: (row) => row.answer },
        { title: "Example", text: true, cell: (row) => row.example },
      ],
      found.verdicts,
    ),
  ];
}

function labels(prompt, decide) {
  const button = (row, title, decision) =>
    element(
      "button",
      { type: "button", "aria-label": `${title} the reference of ${named(row)}`, click: () => decide(row, decision) },
      title,
    );
  return [
    prompt,
    { title: "Probability", number: true, cell: (row) => short(row.probability, 2) },
    { title: "Reference", text: true, cell: (row) => row.reference },
    { title: "Answer instead", text: true, cell: (row) => row.answer },
    { title: "Share", number: true, cell: (row) => percent(row.share) },
    { title: "Visits", number: true, cell: (row) => short(row.visits) },
    { title: "By visit", brief: true, cell: trend },
    { title: "Runs", prose: true, cell: (row) => row.evidence.runs.map(says).join("; ") },
    { title: "Example", text: true, cell: (row) => row.evidence.example },
    {
      title: "Decide",
      brief: true,
      cell: (row) => element("span", {}, button(row, "Replace", "replace"), " ", button(row, "Keep", "keep")),
    },
  ];
}

const named = ({ prompt_id, key }) => prompt_id ?? key;
const nameOf = ({ prompt_id, prompt, key }) => [prompt_id, prompt].filter(Boolean).join(": ") || key;
const trend = ({ evidence }) => evidence.shares.map((share) => Math.round(100 * share)).join(" ") || "–";
const says = ({ run, answer, completions, of, accuracy }) =>
  `${run}: ${answer} (${completions} of ${of}${accuracy === null ? "" : `, right elsewhere ${percent(accuracy)}`})`;
