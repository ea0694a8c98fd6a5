/** A run's history, reduced by the service and updated incrementally. */

import { at, get } from "./server.js";

const POINTS = 300;
const NEWS = 5;

/** The history rows of one run. */
export class History {
  constructor(run) {
    this.run = run;
    this.rows = [];
    this.branch = null;
  }

  /** Fetch new rows, given the run's description (`GET /runs/{id}`). Returns whether there were any. */
  async refresh({ branch, position }, signal) {
    const last = this.rows.at(-1);
    const reload = branch !== this.branch || !last || position < last.position || this.rows.length > 2 * POINTS;
    if (!reload && position === last.position) return false;
    // The last row is fetched again, because its step may have grown.
    const after = reload ? 0 : last.first_position - 1;
    const { rows } = await get(at(this.run, "/history", { after, points: reload ? POINTS : NEWS }), signal);
    this.rows = [...this.rows.filter((row) => !reload && row.position <= after), ...rows];
    this.branch = branch;
    return true;
  }

  /** The x axis: "step" if all rows have a step and the steps rise, otherwise "position". */
  get across() {
    const rise = ({ step }, number) => step !== null && (number === 0 || step > this.rows[number - 1].step);
    return this.rows.every(rise) ? "step" : "position";
  }

  get x() {
    const { across } = this;
    return this.rows.map((row) => row[across]);
  }
}
