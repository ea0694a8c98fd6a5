/** How one reward came about. */

import { element, facts, table } from "./element.js";
import { short } from "./number.js";
import { at, post } from "./server.js";

/** A stored item's explanation, by its record and place or by its number; or a form for a text of one's own. */
export async function explain(run, named, signal) {
  const [one, other] = named.map(Number);
  if (named.length) {
    const asked = named.length > 1 ? { position: one, item: other } : { serial: one };
    return explanation(run, await post(at(run, "/explain"), asked, signal));
  }
  const field = (name, rows) => element("textarea", { name, rows: String(rows), required: true });
  const prompt = field("prompt", 2);
  const completion = field("completion", 4);
  const outcome = element("input", { type: "number", step: "any", value: "0" });
  const answer = element("div", { "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    const asked = { prompt: prompt.value, completion: completion.value, outcome: Number(outcome.value) };
    try {
      answer.replaceChildren(explanation(run, await post(at(run, "/explain"), asked, signal)));
    } catch (error) {
      answer.replaceChildren(element("p", { class: "problem" }, error.message));
    }
  };
  return element(
    "section",
    {},
    element(
      "p",
      {},
      "As it would be scored now; nothing is remembered of it. Stored completions are explained from their table.",
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
    answer,
  );
}

function explanation(run, told) {
  const terms = Object.entries(told.components).map(([name, term]) => ({ name, ...term }));
  const texts = [
    ["Prompt", told.prompt],
    ["Completion", told.completion],
  ];
  return element(
    "section",
    {},
    facts({ Reward: short(told.reward), Outcome: short(told.outcome), "Scored after record": short(told.position) }),
    element(
      "div",
      { class: "texts" },
      texts.map(([title, text]) =>
        element(
          "div",
          {},
          element("h2", {}, title),
          element("blockquote", { tabindex: "0" }, text ?? "Its text is not kept."),
        ),
      ),
    ),
    table(
      "The sum",
      [
        { title: "Component", cell: (term) => term.name },
        { title: "Raw", number: true, cell: (term) => short(term.raw) },
        { title: "Its place in the window", cell: place },
        { title: "Scaled", number: true, cell: (term) => short(term.scaled) },
        { title: "Weight", number: true, cell: (term) => short(term.weight) },
        { title: "Contribution", number: true, cell: (term) => short(term.contribution) },
        { title: "Guards that fired", cell: (term) => term.rejected.join(", ") || "none" },
        { title: "Warm-up", cell: (term) => (told.warmup[term.name] ? `${told.warmup[term.name]} to go` : "over") },
      ],
      terms,
    ),
    told.held_to_spread ? element("p", {}, `max_spread took off ${short(told.held_to_spread)}.`) : null,
    memory(run, "Successes that it read", told.success),
    memory(run, "Failures that it read", told.failure),
  );
}

function place({ window, raw, name }) {
  if (!window) return "no window";
  const says = `${short(window.low)} to ${short(window.high)}, ${window.count} values`;
  const inside = Math.min(window.high, Math.max(window.low, raw));
  const bar =
    window.high > window.low
      ? element("meter", { min: window.low, max: window.high, value: inside, "aria-label": `${name} in its window` })
      : null;
  return element("span", {}, bar, " ", says);
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
      "Under prompts": short(read.prompts),
      "Distance to their mean": short(read.centroid_distance),
      "Largest cosine": short(read.largest_cosine),
    }),
    table(
      "The most similar",
      [
        { title: "Explain", cell: (one) => link(run, one.serial) },
        { title: "Cosine", number: true, cell: (one) => short(one.similarity) },
        { title: "Outcome", number: true, cell: (one) => short(one.outcome) },
        { title: "Step", number: true, cell: (one) => short(one.step) },
        { title: "Stands for", number: true, cell: (one) => `${short(one.count)} ×` },
        { title: "Prompt", text: true, cell: (one) => (one.own_prompt ? "its own" : (one.prompt ?? "not kept")) },
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
