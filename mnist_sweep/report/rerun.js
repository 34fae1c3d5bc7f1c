// The ranks of a table, which open a box with the spec that runs the trials of their row again.
"use strict";

const RANK_MOVES = {
  ArrowDown: (at) => at + 1, ArrowUp: (at) => at - 1, Home: () => 0, End: (_at, last) => last,
};

/** The ranks in the table as buttons, one of them a stop of the Tab key, and the box they open. */
class Rerun {
  constructor({ rows, rerun }, body, box) {
    Object.assign(this, { rows, rerun, body, box, open: null, stop: null });
    body.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.toggle(rowOf(button));
    });
    body.addEventListener("keydown", (event) => this.press(event));
    body.addEventListener("focusin", (event) => this.stopAt(rowOf(event.target)));
    box.querySelector(".close").addEventListener("click", () => this.close());
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  button(text) {
    return make("button", { type: "button", title: "Run it again", "aria-label": `Run rank ${text} again`,
      "aria-controls": this.box.id }, text);
  }

  /** Bring buttons that are new in the table up to date. */
  refresh() {
    this.stopAt(this.buttonOf(this.stop) ? this.stop : rowOf(this.body.querySelector("button")));
    this.showOpen();
  }

  buttonOf(row) {
    return this.body.querySelector(`[data-row="${row}"] button`);
  }

  stopAt(row) {
    this.stop = row;
    for (const button of this.body.querySelectorAll("button")) {
      button.tabIndex = rowOf(button) === row ? 0 : -1;
    }
  }

  showOpen() {
    for (const button of this.body.querySelectorAll("button")) {
      button.setAttribute("aria-expanded", rowOf(button) === this.open);
    }
  }

  press(event) {
    if (!(event.key in RANK_MOVES)) return;
    const buttons = [...this.body.querySelectorAll("button")];
    buttons[RANK_MOVES[event.key](buttons.indexOf(event.target), buttons.length - 1)]?.focus();
    event.preventDefault();
  }

  toggle(row) {
    if (row === this.open) this.close();
    else this.show(row);
  }

  show(row) {
    const [rank] = this.rows[row];
    const name = `${this.rerun.name}${rank}`;
    const spec = [`name: ${name}\n`, ...this.rerun.rows[row].map((i) => this.rerun.parts[i])].join("");
    const part = (selector) => this.box.querySelector(selector);
    part("h4").textContent = `Run rank ${rank.toLocaleString("en")} again`;
    part("code").textContent = `mnist-sweep run ${name}.yaml`;
    part("pre").textContent = spec;
    part("a").href = `data:text/yaml;charset=utf-8,${encodeURIComponent(spec)}`;
    part("a").download = `${name}.yaml`;
    this.open = row;
    this.showOpen();
    this.box.hidden = false;
    this.box.focus();
  }

  close() {
    const button = this.buttonOf(this.open);
    this.open = null;
    this.showOpen();
    this.box.hidden = true;
    // Its row may be filtered out by now.
    (button ?? this.body.closest(".table")).focus();
  }
}

function rowOf(node) {
  return node ? Number(node.closest("tr").dataset.row) : null;
}
