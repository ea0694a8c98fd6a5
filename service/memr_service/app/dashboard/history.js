/** A run's history as it grows: reduced by the service, and only what came since is asked for again. */

import { at, get } from "./server.js";

const POINTS = 300;
const NEWS = 5;

/** The rows of one run. */
export class History {
  constructor(run) {
    this.run = run;
    this.rows = [];
    this.branch = null;
  }

  /** Look for news, given what `GET /runs/{id}` says of the run now; whether there were any. */
  async refresh({ branch, position }, signal) {
    const last = this.rows.at(-1);
    const anew = branch !== this.branch || !last || position < last.position || this.rows.length > 2 * POINTS;
    if (!anew && position === last.position) return false;
    // The last row's step may have gone on, so that it is asked for again.
    const after = anew ? 0 : last.first_position - 1;
    const { rows } = await get(at(this.run, "/history", { after, points: anew ? POINTS : NEWS }), signal);
    this.rows = [...this.rows.filter((row) => !anew && row.position <= after), ...rows];
    this.branch = branch;
    return true;
  }

  /** What the rows lie on: "step" where all have one and they rise, else "position". */
  get across() {
    const rise = ({ step }, number) => step !== null && (number === 0 || step > this.rows[number - 1].step);
    return this.rows.every(rise) ? "step" : "position";
  }

  get x() {
    const { across } = this;
    return this.rows.map((row) => row[across]);
  }
}
