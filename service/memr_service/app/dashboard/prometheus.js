/** Reads Prometheus' text format, and what lies between two readings. */

/** The samples whose name, and labels if given, are these: [{ labels (text), value }]. */
function samples(metrics, name, label = "") {
  return metrics
    .split("\n")
    .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(label))
    .map((line) => ({ labels: line.slice(name.length, line.lastIndexOf(" ")), value: Number(line.slice(line.lastIndexOf(" "))) }));
}

const sum = (found) => found.reduce((total, { value }) => total + value, 0);

/** The sum of a counter's samples, of those only whose labels match a pattern. */
export const counter = (metrics, name, pattern = /./) =>
  sum(samples(metrics, name).filter(({ labels }) => pattern.test(labels || " ")));

/** A histogram: its count, its sum, and [upper bound, count up to it] of each bucket, of those with this label. */
export function histogram(metrics, name, label = "") {
  const buckets = new Map();
  for (const { labels, value } of samples(metrics, `${name}_bucket`, label)) {
    const bound = Number(labels.match(/le="(.*?)"/)[1].replace("+Inf", "Infinity"));
    buckets.set(bound, (buckets.get(bound) ?? 0) + value);
  }
  return {
    count: sum(samples(metrics, `${name}_count`, label)),
    sum: sum(samples(metrics, `${name}_sum`, label)),
    buckets: [...buckets],
  };
}

/** What was counted between two readings of a histogram. After a restart of the server: since then. */
export function between(now, before) {
  if (now.count < before.count) return now;
  const earlier = new Map(before.buckets);
  return {
    count: now.count - before.count,
    sum: now.sum - before.sum,
    buckets: now.buckets.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]),
  };
}

/** The bucket that holds a quantile, as { low, high }: it lies above `low` and at most at `high`, which is Infinity in
 *  the last bucket. Null if nothing was counted. */
export function quantile({ count, buckets }, share) {
  const at = count ? buckets.findIndex(([, upTo]) => upTo >= share * count) : -1;
  return at < 0 ? null : { low: buckets[at - 1]?.[0] ?? 0, high: buckets[at][0] };
}

export const mean = ({ count, sum }) => (count ? sum / count : null);
