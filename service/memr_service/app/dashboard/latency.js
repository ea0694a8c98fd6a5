/** The duration of each hop of a reward, from the server's metrics. */

import { element, table } from "./element.js";
import { short } from "./number.js";
import { poll } from "./poll.js";
import { text } from "./server.js";

const EVERY_S = 10;
const HOPS = {
  "encode: texts to vectors": ["memr_encode_seconds"],
  "score: read the memories, compute rewards": ["memr_score_seconds"],
  "commit: make the record durable": ["memr_commit_seconds"],
  "POST /reward in total": ["memr_request_seconds", 'route="/reward"'],
};

export async function latency(main, signal) {
  const box = element("div");
  main.replaceChildren(
    element("h1", {}, "Latency"),
    element("p", { class: "note" }, "In milliseconds. Percentiles are upper bounds of the metrics' buckets."),
    box,
  );
  let before = null;
  await poll(EVERY_S, signal, async () => {
    const metrics = await text("metrics", signal);
    const now = Object.values(HOPS).map((series) => histogram(metrics, ...series));
    const rows = Object.keys(HOPS).map((hop, number) => ({
      hop,
      all: now[number],
      recent: since(now[number], before?.[number]),
    }));
    before = now;
    box.replaceChildren(table("Parts of a request for rewards", columns(), rows));
  });
}

function columns() {
  const of = (which, title, value) => ({ title, number: true, cell: (row) => short(value(row[which]), 1) });
  return [
    { title: "Part of a request", cell: (row) => row.hop },
    of("all", "Count", (one) => one.count),
    of("all", "Mean", mean),
    of("all", "Median", (one) => quantile(one, 0.5)),
    of("all", "95 %", (one) => quantile(one, 0.95)),
    of("recent", `Count, last ${EVERY_S} s`, (one) => one.count),
    of("recent", `Mean, last ${EVERY_S} s`, mean),
    of("recent", `95 %, last ${EVERY_S} s`, (one) => quantile(one, 0.95)),
  ];
}

/** A histogram of Prometheus' text format: its count, its sum in seconds, and the cumulative count of each bucket. */
function histogram(metrics, name, label = "") {
  const read = (kind) =>
    metrics.split("\n").filter((line) => line.startsWith(`${name}_${kind}`) && line.includes(label));
  const value = (line) => Number(line.slice(line.lastIndexOf(" ")));
  const one = (kind) => read(kind).reduce((sum, line) => sum + value(line), 0);
  const buckets = read("bucket").map((line) => [
    Number(line.match(/le="(.*?)"/)[1].replace("+Inf", "Infinity")),
    value(line),
  ]);
  return { count: one("count"), sum: one("sum"), buckets };
}

function since(now, before) {
  if (!before) return { count: null, sum: 0, buckets: [] };
  const earlier = new Map(before.buckets);
  return {
    count: now.count - before.count,
    sum: now.sum - before.sum,
    buckets: now.buckets.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]),
  };
}

const mean = ({ count, sum }) => (count ? (1000 * sum) / count : null);

function quantile({ count, buckets }, share) {
  const found = count ? buckets.find(([, upTo]) => upTo >= share * count) : null;
  return found ? 1000 * found[0] : null;
}
