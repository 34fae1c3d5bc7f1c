// An axis of the parallel coordinates. Positions along it are shares of it, from 0 (lowest) to 1.
"use strict";

const MEASURE_STOPS = 50;
const TRANSFORMS = {
  linear: [(v) => v, (t) => t],
  order: [(v) => v, (t) => t],
  log: [(v) => Math.log10(v), (t) => 10 ** t],
  // As far from 97 to 98 % as from 60 to 73 %: a third fewer errors.
  error: [(v) => -Math.log10(Math.max(1 - v, 5e-5)), (t) => 1 - 10 ** -t],
  // Downwards: the best is at the top, as it is of accuracies.
  loss: [(v) => -v, (t) => -t],
  "log loss": [(v) => -Math.log10(Math.max(v, 1e-6)), (t) => 10 ** -t],
};

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** One dimension of the parallel coordinates: where each trial is on it, and its brush. */
class Axis {
  constructor(spec, columns, rows, trials) {
    Object.assign(this, spec);
    const column = columns[spec.column];
    const values = column && (spec.scale === "order" ? column.values.keys() : column.values);
    const known = column ? [...values] : trials.map((t) => t[spec.trial]).filter((v) => v !== null);
    [this.forward, this.backward] = TRANSFORMS[spec.scale];
    const ends = [Math.min, Math.max].map((end) => this.forward(known.reduce((a, b) => end(a, b))));
    this.low = Math.min(...ends);
    this.span = Math.max(...ends) - this.low || 1;
    const read = column ? (t) => known[rows[t[0]][spec.column]] : (t) => t[spec.trial];
    this.places = Float64Array.from(trials, (t) => this.place(read(t)));
    this.text = (trial) => column ? column.texts[rows[trials[trial][0]][spec.column]]
      : this.measureText(trials[trial][spec.trial]);
    this.hasGaps = this.places.some(Number.isNaN);
    this.stops = column
      ? known.map((value, i) => [this.place(value), column.texts[i]])
      : Array.from({ length: MEASURE_STOPS + 1 }, (_, i) => this.stopAt(i / MEASURE_STOPS));
    this.brush = null;
  }

  place(value) {
    return value === null ? NaN : (this.forward(value) - this.low) / this.span;
  }

  stopAt(place) {
    return [place, this.measureText(this.backward(this.low + place * this.span))];
  }

  measureText(value) {
    if (value === null) return "none";
    return this.percent ? (100 * value).toFixed(2) : String(Number(value.toPrecision(3)));
  }

  holds(trial) {
    const place = this.places[trial];
    return !this.brush || (place >= this.brush[0] - 1e-9 && place <= this.brush[1] + 1e-9);
  }

  /** Indices of the lowest and the highest stop inside the brush; crossed if there is none. */
  get range() {
    if (!this.brush) return [0, this.stops.length - 1];
    const inside = ([place]) => place >= this.brush[0] - 1e-9 && place <= this.brush[1] + 1e-9;
    const low = this.stops.findIndex(inside);
    return low < 0 ? [1, 0] : [low, this.stops.findLastIndex(inside)];
  }

  setRange(low, high) {
    const all = low === 0 && high === this.stops.length - 1;
    this.brush = all ? null : [this.stops[low][0], this.stops[high][0]];
  }

  get brushText() {
    if (this.column === undefined) {
      return this.brush.map((place) => this.stopAt(place)[1]).join(" to ");
    }
    const [low, high] = this.range;
    if (low > high) return "no value";
    return low === high ? this.stops[low][1] : `${this.stops[low][1]} to ${this.stops[high][1]}`;
  }
}
