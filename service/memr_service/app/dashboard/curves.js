/** A run's curves over its steps. */

import { Chart, quantileLines } from "./chart.js";
import { element } from "./element.js";
import { Lens } from "./lens.js";

/** An element with all charts of a run, and a function `update(history)`. */
export function curves(info, signal) {
  const lens = new Lens();
  const names = Object.keys(info.config.components);
  const each = (value) => names.map((name) => ({ label: name, value: (row) => value(row.components[name]) }));
  const sides = (value) => ["success", "failure"].map((side) => ({ label: side, value: (row) => value(row, side) }));
  const { explore_warmup_steps: steps, explore_warmup_prompts: prompts } = info.config;
  const waits = {
    explore:
      steps || prompts
        ? `Nothing yet: explore warms up until the run has ${steps} steps, and ${prompts} prompts with failures.`
        : "Nothing yet: explore compares with earlier failures, and waits for the first one.",
    exploit: "Nothing yet: exploit compares with earlier successes, and waits for the first one.",
  };
  const share = { range: (_, low, high) => [0, Math.max(1, high ?? 1)] };
  const charts = [
    chart("Outcome", "mean per step", [{ label: "outcome", value: (row) => row.outcome_mean }]),
    chart("Reward", "mean and standard deviation", [
      { label: "mean", value: (row) => row.reward_mean },
      { label: "standard deviation", value: (row) => row.reward_std },
    ]),
    ...names.map((name, number) =>
      chart(
        `${name}, raw`,
        "median, middle 50 % and 90 %",
        quantileLines((row) => row.components[name].raw, number),
        { empty: waits[name] },
      ),
    ),
    chart(
      "Scaled",
      "mean",
      each((one) => one.scaled_mean),
    ),
    chart(
      "Share of the reward",
      "by component",
      each((one) => one.share),
      share,
    ),
    chart(
      "Completions in memory",
      "entries",
      sides((row, side) => row.memory[side].completions),
      { whole: true },
    ),
    chart(
      "Prompts in memory",
      `at most ${info.config.max_prompts.toLocaleString("en")}`,
      sides((row, side) => row.memory[side].prompts),
      { whole: true },
    ),
    chart(
      "Support",
      "completions read per item",
      sides((row, side) => row.support[side]),
    ),
    chart(
      "Length",
      "characters: median, middle 50 % and 90 %",
      quantileLines((row) => row.length, 2),
    ),
    chart(
      "Groups with equal outcomes",
      "share of groups",
      [{ label: "share", value: (row) => row.zero_variance_share }],
      share,
    ),
    chart("Diversity", "1 - mean cosine between siblings", [{ label: "diversity", value: (row) => row.diversity }]),
  ];
  const drawn = element(
    "div",
    { class: "charts" },
    charts.map((one) => one.figure),
  );
  const counted = [
    counts("Rejected", "share of completions, by reason", (row) => row.rejected),
    counts("Merged", "share of completions merged into an entry", (row) => row.merged),
    counts("Evicted", "entries or prompts per completion, by limit", (row) => row.evicted),
  ];

  function chart(title, note, lines, options) {
    return new Chart(title, note, lines, { ...options, lens, signal });
  }

  /** A chart of counts by name. It appears with the first count, and is replaced when a new name appears. */
  function counts(title, note, of) {
    let made = null;
    return {
      update(rows, x, across) {
        const labels = [...new Set(rows.flatMap((row) => Object.keys(of(row))))].sort();
        if (labels.length !== (made?.lines.length ?? 0)) {
          const lines = labels.map((label) => ({ label, value: (row) => (of(row)[label] ?? 0) / row.items }));
          const next = chart(title, note, lines, { range: (_, low, high) => [0, 1.05 * high || 1] });
          if (made) made.figure.replaceWith(next.figure);
          else drawn.append(next.figure);
          made = next;
        }
        made?.update(rows, x, across);
      },
    };
  }

  return {
    box: element("section", {}, lens.box, drawn),
    update(history) {
      for (const one of [...charts, ...counted]) one.update(history.rows, history.x, history.across);
    },
  };
}
