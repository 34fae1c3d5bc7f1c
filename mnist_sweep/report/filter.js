// The filter over a table: words that a row must hold, comparisons that it must meet.
"use strict";

const COMPARE = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };
const OPERATOR = /(<=|>=|!=|[=<>])/;
const MAX_NAME_WORDS = 3;

/** What a row must pass, functions of (its cells, its text), and what cannot be understood. */
function parseFilter(text, columns) {
  const [words, tests, problems, unknown] = [[], [], [], []];
  const keys = (several) => several.map((column) => column.key).join(", ");
  const tokens = text.toLowerCase().replaceAll("==", "=").replace(/\s+%/g, "%")
    .split(OPERATOR).flatMap((part) => part.trim().split(/\s+/)).filter(Boolean);
  while (tokens.length) {
    const token = tokens.shift();
    if (!OPERATOR.test(token)) {
      words.push(token);
      continue;
    }
    const { name, found } = takeColumn(words, columns);
    const wanted = tokens.shift();
    if (!found.length) unknown.push(`"${name}"`);
    else if (found.length > 1) problems.push(`${name} may be ${keys(found)}`);
    else if (wanted) tests.push((row) => compare(found[0], row[columns.indexOf(found[0])], token, wanted));
  }
  for (const word of words) tests.push((_row, rowText) => rowText.includes(word));
  if (unknown.length) {
    problems.push(`There is no column ${unknown.join(" or ")}; the columns are ${keys(columns)}`);
  }
  return { tests, problems };
}

/** The columns that the last of `words` name, which are taken off; a name may be of several. */
function takeColumn(words, columns) {
  for (let count = Math.min(MAX_NAME_WORDS, words.length); count > 0; count--) {
    const found = named(words.slice(-count).join(" "), columns);
    if (found.length) return { name: words.splice(-count).join(" "), found };
  }
  return { name: words.pop() ?? "", found: [] };
}

/** The columns with this key or label, else those of which one begins so. */
function named(name, columns) {
  const plain = (text) => text.toLowerCase().replaceAll("%", "").trim().replace(/[\s_]+/g, "_");
  const wanted = plain(name);
  const those = (test) => columns.filter((c) => [c.key, c.label].some((text) => test(plain(text))));
  const exact = those((text) => text === wanted);
  return exact.length || !wanted ? exact : those((text) => text.startsWith(wanted));
}

/** `text` in the unit of the column: 97, 97% and 0.97 are the same accuracy, 10% is a weight of 0.1. */
function toNumber(text, column) {
  const number = Number(text.replace(/,(?=\d{3}\b)/g, "").replace(/%$/, ""));
  if (text.endsWith("%")) return column.label.endsWith("%") ? number : number / 100;
  // In floating point 100 * 0.9743 is not 97.43.
  return column.key.endsWith("accuracy") && number <= 1 ? Number((100 * number).toPrecision(12)) : number;
}

/** Whether a cell, as it is shown, compares so with what is wanted. */
function compare(column, cell, operator, wanted) {
  const number = toNumber(wanted, column);
  const shown = column.kind === "choice" ? column.values[cell] : cell && Number(cell.toFixed(column.digits));
  if (operator in COMPARE) return typeof shown === "number" && COMPARE[operator](shown, number);
  const same = cellText(column, cell).toLowerCase() === wanted || shown === number;
  return same === (operator === "=");
}

function cellText(column, cell) {
  if (cell === null) return "";
  if (column.kind === "choice") return column.texts[cell];
  if (column.kind === "mark") return column.texts[cell][0];
  return cell.toLocaleString("en", { minimumFractionDigits: column.digits,
    maximumFractionDigits: column.digits });
}
