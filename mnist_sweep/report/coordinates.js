// Parallel coordinates of trials: lines on a canvas, axes with brushes over it.
"use strict";

const NARROW = 640, NARROW_ROW = 74, LINE_BINS = 16;
// As close as this to an end of an axis, the pointer means the end.
const SNAP = 0.05;
// As many pixels from a line, the pointer means its trial.
const REACH = 8;
const STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5,
  Home: -Infinity, End: Infinity };

/** Call `move` with what the pointer does from `event` on, and `stop` when it lets go. */
function follow(event, move, stop) {
  const target = event.currentTarget;
  target.setPointerCapture(event.pointerId);
  target.addEventListener("pointermove", move);
  target.addEventListener("lostpointercapture", () => {
    target.removeEventListener("pointermove", move);
    stop();
  }, { once: true });
}

/** The lines of the trials on two canvases, and over them the axes as elements. */
class Coordinates {
  constructor(host, axes, changed, describe) {
    Object.assign(this, { host, axes: [...axes], changed, describe, shown: [], pointed: null });
    this.metric = axes[axes.length - 1];
    this.about = make("span", { class: "about" });
    this.lines = make("canvas", { "aria-hidden": "true" });
    this.marks = make("canvas", { "aria-hidden": "true" });
    host.append(this.lines, this.marks, this.about);
    for (const axis of axes) this.build(axis);
    for (const type of ["pointermove", "pointerleave", "click"]) {
      host.addEventListener(type, (event) => this.pointAt(event.buttons ? null : this.nearest(event)));
    }
    new ResizeObserver(() => this.layOut()).observe(host);
    // On paper everything is dark on light.
    matchMedia("screen and (prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  build(axis) {
    axis.element = make("div", { class: "axis", role: "group", "aria-label": `Filter by ${axis.label}` });
    axis.name = make("button", { type: "button", class: "name", "aria-label": `Move ${axis.label}`,
      title: "Drag to move, or press the arrow keys" }, axis.label);
    axis.name.addEventListener("pointerdown", (event) => this.carry(event, axis));
    axis.name.addEventListener("keydown", (event) => {
      if (!/^Arrow/.test(event.key)) return;
      this.move(axis, this.shown.indexOf(axis) + (/Left|Up/.test(event.key) ? -1 : 1));
      this.inOrder();
      event.preventDefault();
    });
    axis.hide = make("button", { type: "button", class: "hide", title: "Hide this axis",
      "aria-label": `Hide ${axis.label}` }, "×");
    axis.hide.addEventListener("click", () => this.hide(axis, true));
    axis.value = make("span", { class: "tick value" });
    axis.track = make("div", { class: "track" });
    axis.band = make("div", { class: "band" });
    axis.handles = ["from", "to"].map((end, i) => {
      const handle = make("div", { class: "handle", role: "slider", tabindex: 0,
        "aria-label": `${axis.label}, ${end}`, "aria-valuemin": 0, "aria-valuemax": axis.stops.length - 1 });
      handle.addEventListener("keydown", (event) => this.press(event, axis, i));
      return handle;
    });
    axis.track.append(axis.band, ...axis.handles, axis.value);
    axis.element.append(axis.name, axis.hide, axis.track);
    axis.track.addEventListener("pointerdown", (event) => this.drag(event, axis));
    this.host.append(axis.element);
  }

  press(event, axis, end) {
    const range = axis.range[0] > axis.range[1] ? [0, axis.stops.length - 1] : axis.range;
    if (event.key === "Escape" || event.key === "Delete") axis.brush = null;
    else if (event.key in STEPS) {
      const [least, most] = end === 0 ? [0, range[1]] : [range[0], axis.stops.length - 1];
      range[end] = Math.min(most, Math.max(least, range[end] + STEPS[event.key]));
      axis.setRange(...range);
    } else return;
    event.preventDefault();
    this.changed();
  }

  drag(event, axis) {
    if (event.button !== 0) return;
    event.preventDefault();
    const { track } = axis;
    const end = axis.handles.indexOf(event.target);
    if (end >= 0) event.target.focus();
    const start = this.pointerPlace(event, track);
    const fixed = end < 0 ? start : (axis.brush ?? [0, 1])[1 - end];
    const from = [event.clientX, event.clientY];
    let moved = false;
    const move = (next) => {
      moved ||= Math.hypot(next.clientX - from[0], next.clientY - from[1]) > 3;
      if (!moved) return;
      const place = this.pointerPlace(next, track);
      axis.brush = [Math.min(fixed, place), Math.max(fixed, place)];
      this.changed();
    };
    const stop = () => {
      if (!moved && end < 0) {
        axis.brush = null;
        this.changed();
      }
    };
    follow(event, move, stop);
  }

  /** Move `axis` along with the pointer that holds its name. */
  carry(event, axis) {
    if (event.button !== 0) return;
    follow(event, (next) => {
      const box = this.host.getBoundingClientRect();
      const share = this.narrow ? (next.clientY - box.top) / box.height
        : (next.clientX - box.left) / box.width;
      this.move(axis, Math.floor(share * this.shown.length));
    }, () => this.inOrder());
  }

  /** Put `axis` at the place `at` among those shown. */
  move(axis, at) {
    const other = this.shown[Math.max(0, Math.min(this.shown.length - 1, at))];
    const to = this.axes.indexOf(other);
    this.axes.splice(to, 0, ...this.axes.splice(this.axes.indexOf(axis), 1));
    if (other !== axis) this.layOut();
  }

  /** Let the Tab key take the axes as they stand. */
  inOrder() {
    const focused = document.activeElement;
    this.host.append(...this.axes.map((axis) => axis.element));
    focused.focus({ preventScroll: true });
  }

  hide(axis, hidden) {
    axis.element.hidden = hidden;
    axis.brush = null;
    this.layOut();
    this.changed();
    (hidden ? this.shown[0] : axis).name.focus({ preventScroll: true });
  }

  pointerPlace(event, track) {
    const box = track.getBoundingClientRect();
    const share = this.narrow
      ? (event.clientX - box.left) / box.width
      : (box.bottom - event.clientY) / box.height;
    return share < SNAP ? 0 : share > 1 - SNAP ? 1 : share;
  }

  layOut() {
    const width = this.host.clientWidth;
    if (!width) return;
    this.narrow = width < NARROW;
    this.host.classList.toggle("narrow", this.narrow);
    this.shown = this.axes.filter((axis) => !axis.element.hidden);
    const count = this.shown.length;
    this.host.style.height = this.narrow ? `${count * NARROW_ROW + 8}px` : "400px";
    this.shown.forEach((axis, i) => {
      // A line takes two.
      axis.hide.disabled = count < 3;
      axis.element.style.left = this.narrow ? "" : `${(100 * (i + 0.5)) / count}%`;
      axis.element.style.top = this.narrow ? `${i * NARROW_ROW}px` : "";
      axis.element.style.width = this.narrow ? "" : `${100 / count}%`;
      this.drawTicks(axis);
    });
    const ratio = devicePixelRatio || 1;
    for (const canvas of [this.lines, this.marks]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(this.host.clientHeight * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    const box = this.host.getBoundingClientRect();
    for (const axis of this.shown) {
      const track = axis.track.getBoundingClientRect();
      axis.box = { x: track.left - box.left, y: track.top - box.top, w: track.width, h: track.height };
    }
    this.draw();
  }

  drawTicks(axis) {
    axis.track.querySelectorAll(".tick:not(.value)").forEach((tick) => tick.remove());
    const length = this.narrow ? axis.track.clientWidth : axis.track.clientHeight;
    const ticks = axis.ticks.map(([value, text]) => [axis.place(value), text]);
    let last = -Infinity;
    for (const [place, text] of ticks.sort((a, b) => a[0] - b[0])) {
      const room = this.narrow ? 7 * text.length + 10 : 15;
      if ((place - last) * length < room) continue;
      last = place;
      const tick = make("span", { class: "tick" }, text);
      tick.style[this.narrow ? "left" : "bottom"] = `${100 * place}%`;
      axis.track.append(tick);
    }
    if (axis.hasGaps) axis.track.append(make("span", { class: "tick none" }, "none"));
  }

  /** The point of a trial on an axis; what was not measured lies beyond its low end. */
  point(axis, trial) {
    const { x, y, w, h } = axis.box;
    const place = axis.places[trial];
    if (this.narrow) return [Number.isNaN(place) ? x - 38 : x + place * w, y + h / 2];
    return [x + w / 2, Number.isNaN(place) ? y + h + 22 : y + (1 - place) * h];
  }

  trace(context, trials) {
    context.beginPath();
    for (const trial of trials) {
      this.shown.forEach((axis, i) => {
        const [x, y] = this.point(axis, trial);
        if (i) context.lineTo(x, y);
        else context.moveTo(x, y);
      });
    }
    context.stroke();
  }

  show(kept) {
    this.kept = kept;
    this.draw();
  }

  showBrush(axis) {
    const [low, high] = axis.brush ?? [0, 1];
    const [start, size] = this.narrow ? ["left", "width"] : ["bottom", "height"];
    axis.band.removeAttribute("style");
    axis.band.style[start] = `${100 * low}%`;
    axis.band.style[size] = `${100 * (high - low)}%`;
    axis.element.classList.toggle("brushed", axis.brush !== null);
    const range = axis.range[0] > axis.range[1] ? [0, axis.stops.length - 1] : axis.range;
    axis.handles.forEach((handle, end) => {
      handle.removeAttribute("style");
      handle.style[start] = `${100 * (end ? high : low)}%`;
      handle.setAttribute("aria-valuenow", range[end]);
      handle.setAttribute("aria-valuetext", axis.stops[range[end]][1]);
    });
  }

  draw() {
    if (!this.kept || !this.shown.length) return;
    this.shown.forEach((axis) => this.showBrush(axis));
    this.pointAt(null);
    const style = getComputedStyle(this.host);
    const colour = (name) => style.getPropertyValue(name).trim();
    const context = this.lines.getContext("2d");
    context.clearRect(0, 0, this.lines.width, this.lines.height);
    const bins = Array.from({ length: LINE_BINS }, () => []);
    const [out, unmeasured] = [[], []];
    this.kept.forEach((kept, trial) => {
      const place = this.metric.places[trial];
      if (!kept) out.push(trial);
      else if (Number.isNaN(place)) unmeasured.push(trial);
      else bins[Math.min(LINE_BINS - 1, Math.floor(place * LINE_BINS))].push(trial);
    });
    const shown = this.kept.length - out.length;
    context.lineJoin = "round";
    context.lineWidth = 1;
    context.strokeStyle = colour("--line-out");
    context.globalAlpha = Math.min(0.7, 20 / Math.sqrt(out.length + 1));
    this.trace(context, out);
    context.lineWidth = shown > 1000 ? 1 : 1.5;
    context.globalAlpha = Math.max(0.25, Math.min(0.9, 18 / Math.sqrt(shown + 1)));
    context.strokeStyle = colour("--line-unmeasured");
    context.setLineDash([5, 4]);
    this.trace(context, unmeasured);
    context.setLineDash([]);
    const ramp = [0, 1, 2, 3].map((i) => rgb(colour(`--ramp-${i}`)));
    bins.forEach((trials, i) => {
      context.strokeStyle = mix(ramp, i / (LINE_BINS - 1));
      this.trace(context, trials);
    });
    context.globalAlpha = 1;
  }

  highlight(trials) {
    const context = this.marks.getContext("2d");
    context.clearRect(0, 0, this.marks.width, this.marks.height);
    context.lineWidth = 3;
    context.strokeStyle = getComputedStyle(this.host).getPropertyValue("--highlight").trim();
    if (trials.length && this.shown.length) this.trace(context, trials);
  }

  /** The trial whose line is next to the pointer, the best of them; null where none is in reach. */
  nearest(event) {
    if (this.shown.length < 2) return null;
    const { left, top } = this.host.getBoundingClientRect();
    // In the direction from axis to axis, and across it.
    const turned = ([x, y]) => this.narrow ? [y, x] : [x, y];
    const [along, across] = turned([event.clientX - left, event.clientY - top]);
    const middle = ({ box }) => turned([box.x + box.w / 2, box.y + box.h / 2])[0];
    const after = this.shown.findIndex((axis) => middle(axis) >= along);
    const second = after < 0 ? this.shown.length - 1 : Math.max(1, after);
    const pair = [this.shown[second - 1], this.shown[second]];
    const [start, end] = pair.map(middle);
    if (along < start - REACH || along > end + REACH) return null;
    let [found, least] = [null, REACH];
    this.kept.forEach((kept, trial) => {
      if (!kept) return;
      const [from, to] = pair.map((axis) => turned(this.point(axis, trial))[1]);
      const slope = (to - from) / (end - start);
      const distance = Math.abs(across - from - slope * (along - start)) / Math.hypot(1, slope);
      if (distance < least) [found, least] = [trial, distance];
    });
    return found;
  }

  /** Mark a trial and show its values, or none (null). */
  pointAt(trial) {
    if (trial === this.pointed) return;
    this.pointed = trial;
    this.highlight(trial === null ? [] : [trial]);
    this.host.classList.toggle("pointed", trial !== null);
    if (trial === null) return;
    this.about.textContent = this.describe(trial);
    for (const axis of this.shown) {
      const place = axis.places[trial];
      axis.value.textContent = axis.text(trial);
      axis.value.classList.toggle("none", Number.isNaN(place));
      axis.value.removeAttribute("style");
      axis.value.style[this.narrow ? "left" : "bottom"] = Number.isNaN(place) ? "" : `${100 * place}%`;
    }
  }
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function mix(ramp, share) {
  const place = share * (ramp.length - 1);
  const at = Math.min(ramp.length - 2, Math.floor(place));
  const parts = ramp[at].map((low, i) => Math.round(low + (ramp[at + 1][i] - low) * (place - at)));
  return `rgb(${parts.join(",")})`;
}
