// The table of each study, linked with its parallel coordinates, and the copy buttons. Text gets
// into the page as textContent only.
"use strict";

const ROWS_AT_FIRST = 100, ROWS_MORE = 500;

class Explorer {
  constructor(root, study) {
    const { columns, rows, trials, axes } = study;
    Object.assign(this, { columns, rows, trials });
    this.part = (name) => root.querySelector(`.${name}`);
    this.texts = rows.map((row) => columns.map((c, i) => cellText(c, row[i])).join("\n").toLowerCase());
    this.axes = axes.map((axis) => new Axis(axis, columns, rows, trials));
    this.trialsOf = rows.map(() => []);
    trials.forEach(([row], trial) => this.trialsOf[row].push(trial));
    this.sorting = { at: 0, sign: 1 };
    this.limit = ROWS_AT_FIRST;
    this.buildHead();
    this.coordinates = new Coordinates(this.part("coordinates"), this.axes, () => this.schedule(),
      (trial) => `Rank ${rows[trials[trial][0]][0].toLocaleString("en")}`);
    this.part("search").addEventListener("input", () => this.schedule());
    this.part("reset").addEventListener("click", () => this.reset());
    this.part("more").addEventListener("click", () => {
      this.limit += ROWS_MORE;
      this.fillBody();
    });
    const body = this.part("rows");
    body.addEventListener("pointerover", (event) => {
      const row = event.target.closest("tr");
      if (row) this.coordinates.highlight(this.trialsOf[row.dataset.row]);
    });
    body.addEventListener("pointerleave", () => this.coordinates.highlight([]));
    this.rerun = new Rerun(study, body, this.part("rerun"));
    this.update();
    // What a filter leaves of the table must not make the page shorter under the pointer.
    const table = this.part("table");
    table.style.minHeight = `${table.offsetHeight}px`;
  }

  reset() {
    this.part("search").value = "";
    for (const axis of this.axes) axis.brush = null;
    this.update();
  }

  /** Update once a frame, however many events there are. */
  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.update();
    });
  }

  update() {
    const { tests, problems } = parseFilter(this.part("search").value, this.columns);
    const rowPasses = this.rows.map((row, i) => tests.every((test) => test(row, this.texts[i])));
    const kept = this.trials.map(
      ([row], trial) => rowPasses[row] && this.axes.every((axis) => axis.holds(trial)),
    );
    const brushed = this.axes.some((axis) => axis.brush);
    this.shown = [];
    this.rows.forEach((_, i) => {
      if (rowPasses[i] && (!brushed || this.trialsOf[i].some((t) => kept[t]))) this.shown.push(i);
    });
    this.coordinates.show(kept);
    this.sort();
    this.showChips();
    const trials = kept.filter(Boolean).length;
    const of = (part, all, noun) => `${part.toLocaleString("en")} of ${all.toLocaleString("en")} ${noun}`;
    this.part("count").textContent =
      `${of(this.shown.length, this.rows.length, "configurations")}, ` +
      of(trials, this.trials.length, "trials");
    this.part("problem").textContent =
      problems.length ? `${problems.join(". ")}.` : this.shown.length ? "" : "Nothing matches.";
    this.part("reset").disabled = !brushed && !this.part("search").value;
  }

  /** Buttons that drop the ranges, and those that bring back the axes that are hidden. */
  showChips() {
    const chip = (label, text, sign, pressed) => {
      const button = make("button", { type: "button", "aria-label": label },
        text, make("span", { "aria-hidden": "true" }, sign));
      button.addEventListener("click", pressed);
      return make("li", {}, button);
    };
    const ranges = this.axes.filter((axis) => axis.brush).map((axis) => {
      const text = `${axis.label}: ${axis.brushText}`;
      return chip(`Remove the filter ${text}`, text, " ×", () => {
        axis.brush = null;
        this.update();
        axis.handles[0].focus();
      });
    });
    const hidden = this.axes.filter((axis) => axis.element.hidden).map((axis) =>
      chip(`Show ${axis.label}`, axis.label, " +", () => this.coordinates.hide(axis, false)));
    this.part("chips").replaceChildren(...ranges, ...hidden);
  }

  buildHead() {
    const row = make("tr");
    this.columns.forEach((column, at) => {
      const head = make("th", { scope: "col", class: column.kind });
      const title = `${column.doc ? `${column.doc}. ` : ""}Sort; in the filter: ${column.key}`;
      const button = make("button", { type: "button", title },
        column.label || make("span", { class: "unseen" }, "against the best"));
      button.addEventListener("click", () => this.sortBy(at));
      head.append(button);
      row.append(head);
    });
    this.part("heads").append(row);
  }

  sortBy(at) {
    const first = /accuracy/.test(this.columns[at].key) ? -1 : 1;
    this.sorting = { at, sign: this.sorting.at === at ? -this.sorting.sign : first };
    this.sort();
  }

  sort() {
    const { at, sign } = this.sorting;
    const cell = (row) => this.rows[row][at];
    // Equal ones stay in the order of the ranking; what was not measured comes last.
    this.shown.sort((a, b) => {
      const gaps = (cell(a) === null) - (cell(b) === null);
      return gaps || sign * (cell(a) - cell(b)) || a - b;
    });
    [...this.part("heads").querySelectorAll("th")].forEach((head, i) => {
      if (i !== at) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    });
    this.fillBody();
  }

  fillBody() {
    const rows = this.shown.slice(0, this.limit).map((row) => {
      const line = make("tr", { "data-row": row });
      this.columns.forEach((column, at) => {
        const text = cellText(column, this.rows[row][at]);
        const content = column.key === "rank" ? this.rerun.button(text) : text;
        const cell = make("td", { class: column.kind }, content);
        if (column.kind === "mark") cell.title = column.texts[this.rows[row][at]][1];
        line.append(cell);
      });
      return line;
    });
    this.part("rows").replaceChildren(...rows);
    this.rerun.refresh();
    const left = this.shown.length - rows.length;
    this.part("more").hidden = left <= 0;
    this.part("more").textContent = `Show ${Math.min(left, ROWS_MORE)} more of ${left.toLocaleString("en")}`;
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // A page from a file may not be let at the clipboard: leave the last step to the reader.
    getSelection().selectAllChildren(source);
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

const studies = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll(".explorer").forEach((root, i) => new Explorer(root, studies[i]));
document.querySelectorAll("[data-copy]").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
});
