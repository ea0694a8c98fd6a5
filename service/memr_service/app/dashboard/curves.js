/** A run's curves. */

import { Chart, quantileLines } from "./chart.js";
import { element } from "./element.js";

/** A box with all charts of a run, and `update(history)`. */
export function curves(info, signal) {
  const names = Object.keys(info.config.components);
  const each = (value) => names.map((name) => ({ label: name, value: (row) => value(row.components[name]) }));
  const sides = (value) => ["success", "failure"].map((side) => ({ label: side, value: (row) => value(row, side) }));
  const share = { range: (_, low, high) => [0, Math.max(1, high ?? 1)] };
  const charts = [
    chart("Outcome", "mean of a step", [{ label: "outcome", value: (row) => row.outcome_mean }]),
    chart("Reward", "mean and spread", [
      { label: "mean", value: (row) => row.reward_mean },
      { label: "standard deviation", value: (row) => row.reward_std },
    ]),
    ...names.map((name, number) =>
      chart(
        `${name}, raw`,
        "median, 50 % and 90 %",
        quantileLines((row) => row.components[name].raw, number),
      ),
    ),
    chart(
      "Scaled",
      "mean",
      each((one) => one.scaled_mean),
    ),
    chart(
      "Weight share",
      "of what is paid",
      each((one) => one.share),
      share,
    ),
    chart(
      "Completions in memory",
      "entries",
      sides((row, side) => row.memory[side].completions),
    ),
    chart(
      "Prompts in memory",
      `at most ${info.config.max_prompts.toLocaleString("en")}`,
      sides((row, side) => row.memory[side].prompts),
    ),
    chart(
      "Support",
      "completions read, per item",
      sides((row, side) => row.support[side]),
    ),
    chart(
      "Length",
      "characters: median, 50 % and 90 %",
      quantileLines((row) => row.length, 2),
    ),
    chart(
      "Groups without variance",
      "share whose outcomes are all equal",
      [{ label: "share", value: (row) => row.zero_variance_share }],
      share,
    ),
    chart("Diversity", "1 - mean cosine of siblings", [{ label: "diversity", value: (row) => row.diversity }]),
  ];
  const box = element(
    "div",
    { class: "charts" },
    charts.map((one) => one.figure),
  );
  const counted = [
    counts("Rejected", "share of completions, by reason", (row) => row.rejected),
    counts("Merged", "share of completions that raised an entry's count", (row) => row.merged),
    counts("Evicted", "per completion, by the limit that was reached", (row) => row.evicted),
  ];

  function chart(title, note, lines, options) {
    return new Chart(title, note, lines, { ...options, signal });
  }

  /** A chart of what is counted by name, once there is something; a name that is new makes it anew. */
  function counts(title, note, of) {
    let made = null;
    return {
      update(rows, x, across) {
        const labels = [...new Set(rows.flatMap((row) => Object.keys(of(row))))].sort();
        if (labels.length !== (made?.lines.length ?? 0)) {
          const lines = labels.map((label) => ({ label, value: (row) => (of(row)[label] ?? 0) / row.items }));
          const anew = chart(title, note, lines, { range: (_, low, high) => [0, 1.05 * high || 1] });
          if (made) made.figure.replaceWith(anew.figure);
          else box.append(anew.figure);
          made = anew;
        }
        made?.update(rows, x, across);
      },
    };
  }

  return {
    box,
    update(history) {
      for (const one of [...charts, ...counted]) one.update(history.rows, history.x, history.across);
    },
  };
}
