/** Explains one reward. */

import { element, facts, table } from "./element.js";
import { short } from "./number.js";
import { at, post } from "./server.js";

/** The explanation of a scored item (by record and position, or by serial number), or a form for a new completion. */
export async function explain(run, named, signal) {
  const [one, other] = named.map(Number);
  if (named.length) {
    const item = named.length > 1 ? { position: one, item: other } : { serial: one };
    return explanation(run, await post(at(run, "/explain"), item, signal));
  }
  const field = (name, rows) => element("textarea", { name, rows: String(rows), required: true });
  const prompt = field("prompt", 2);
  const completion = field("completion", 4);
  const outcome = element("input", { type: "number", step: "any", value: "0" });
  const result = element("div", { "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    const texts = { prompt: prompt.value, completion: completion.value, outcome: Number(outcome.value) };
    try {
      result.replaceChildren(explanation(run, await post(at(run, "/explain"), texts, signal)));
    } catch (error) {
      result.replaceChildren(element("p", { class: "problem" }, error.message));
    }
  };
  return element(
    "section",
    {},
    element(
      "p",
      {},
      "Explains how a completion would be scored now, without storing it. " +
        "To explain a scored completion, choose it under Completions.",
    ),
    element(
      "form",
      { submit },
      element("p", {}, element("label", {}, "Prompt", prompt)),
      element("p", {}, element("label", {}, "Completion", completion)),
      element(
        "p",
        {},
        element("label", {}, "Outcome ", outcome),
        " ",
        element("button", { type: "submit" }, "Explain"),
      ),
    ),
    result,
  );
}

function explanation(run, found) {
  const terms = Object.entries(found.components).map(([name, term]) => ({ name, ...term }));
  const texts = [
    ["Prompt", found.prompt],
    ["Completion", found.completion],
  ];
  return element(
    "section",
    {},
    facts({ Reward: short(found.reward), Outcome: short(found.outcome), "Scored when the run had": `${short(found.position)} records` }),
    account(found.account),
    element(
      "div",
      { class: "texts" },
      texts.map(([title, text]) =>
        element(
          "div",
          {},
          element("h2", {}, title),
          element("blockquote", { tabindex: "0" }, text ?? "The text is no longer kept."),
        ),
      ),
    ),
    table(
      "Components of the reward",
      [
        { title: "Component", cell: (term) => term.name },
        { title: "Raw", number: true, cell: (term) => short(term.raw) },
        { title: "Place in the window of recent values", cell: windowPosition },
        { title: "Scaled", number: true, cell: (term) => short(term.scaled) },
        { title: "Weight", number: true, cell: (term) => short(term.weight) },
        { title: "Contribution", number: true, cell: (term) => short(term.contribution) },
        { title: "Warm-up", cell: (term) => (found.warmup[term.name] ? `${found.warmup[term.name]} to go` : "over") },
      ],
      terms,
    ),
    limits(terms),
    memory(run, "Successes read", found.success),
    memory(run, "Failures read", found.failure),
  );
}

/** What each component paid and why; the last sentence, of the reward, stands out. */
function account(sentences) {
  const last = sentences.length - 1;
  return element(
    "ul",
    { class: "account" },
    sentences.map((one, number) => element("li", {}, number === last ? element("strong", {}, one) : one)),
  );
}

/** The guards and bounds that are on, those that apply first; components with the same share a row. */
function limits(terms) {
  const rows = new Map();
  for (const { name, limits } of terms)
    for (const one of limits) {
      const key = JSON.stringify([one.name, one.says, one.applied]);
      rows.set(key, { ...one, of: [...(rows.get(key)?.of ?? []), name] });
    }
  if (!rows.size) return null;
  return table(
    "Guards and bounds",
    [
      { title: "Guard", cell: (one) => one.name },
      { title: "Of", cell: (one) => one.of.join(", ") },
      { title: "Applies", cell: (one) => element("span", { class: `state ${one.applied ? "warn" : "ok"}` }, one.applied ? "yes" : "no") },
      { title: "What it found, and its limit", prose: true, cell: (one) => one.says },
    ],
    [...rows.values()].toSorted((a, b) => b.applied - a.applied),
  );
}

function windowPosition({ window, raw, name }) {
  if (!window) return "no window";
  const range = `${short(window.low)} to ${short(window.high)}, ${window.count} values`;
  const inside = Math.min(window.high, Math.max(window.low, raw));
  const bar =
    window.high > window.low
      ? element("meter", { min: window.low, max: window.high, value: inside, "aria-label": `${name} in its window` })
      : null;
  return element("span", {}, bar, " ", range);
}

function memory(run, title, read) {
  if (!read.completions) return element("section", {}, element("h2", {}, title), element("p", {}, "None."));
  return element(
    "section",
    {},
    element("h2", {}, title),
    facts({
      Completions: short(read.completions),
      ...(read.entries < read.completions ? { "Merged into entries": short(read.entries) } : {}),
      Prompts: short(read.prompts),
      "Distance to their mean": short(read.centroid_distance),
      "Largest cosine": short(read.largest_cosine),
    }),
    table(
      "Most similar completions",
      [
        { title: "Explain", cell: (one) => link(run, one.serial) },
        { title: "Cosine", number: true, cell: (one) => short(one.similarity) },
        { title: "Outcome", number: true, cell: (one) => short(one.outcome) },
        { title: "Step", number: true, cell: (one) => short(one.step) },
        { title: "Merged", number: true, cell: (one) => `${short(one.count)} ×` },
        { title: "Prompt", text: true, cell: (one) => (one.own_prompt ? "the same" : (one.prompt ?? "not kept")) },
        { title: "Completion", text: true, cell: (one) => one.completion ?? "not kept" },
      ],
      read.neighbours,
    ),
  );
}

function link(run, serial) {
  const href = `#/run/${encodeURIComponent(run)}/explain/${serial}`;
  return element("a", { href, "aria-label": `Explain completion number ${serial}` }, String(serial));
}
