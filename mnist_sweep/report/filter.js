// The filter over a table: words that a row must hold, comparisons that it must meet.
"use strict";

const COMPARE = {
  "=": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, "<=": (a, b) => a <= b,
  ">": (a, b) => a > b, ">=": (a, b) => a >= b,
};
const OPERATOR = /(<=|>=|!=|[=<>])/;
const MAX_NAME_WORDS = 3;

/** What a row must pass, functions of (its cells, its text), and what cannot be understood. */
function parseFilter(text, columns) {
  const [words, tests, problems] = [[], [], []];
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
    if (found.length !== 1) problems.push(notOne(name, found, columns));
    else if (wanted !== undefined) {
      const [column] = found;
      const number = toNumber(wanted, column);
      if (/[<>]/.test(token) && Number.isNaN(number) && isNumeric(column)) {
        problems.push(`${wanted} is not a number, as ${column.key} is`);
      } else {
        const at = columns.indexOf(column);
        tests.push((row) => compare(column, row[at], token, wanted, number));
      }
    }
  }
  for (const word of words) tests.push((_row, rowText) => rowText.includes(word));
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

function notOne(name, found, columns) {
  const keys = (several) => several.map((column) => column.key).join(", ");
  if (found.length) return `${name} may be ${keys(found)}`;
  const lack = name ? `There is no column ${name}` : "A comparison begins with a column";
  return `${lack}; the columns are ${keys(columns)}`;
}

function isNumeric(column) {
  return column.kind === "number" ||
    (column.kind === "choice" && column.values.every((v) => v === null || typeof v === "number"));
}

/** `text` in the unit of the column: 97, 97% and 0.97 are the same accuracy, 10% is 0.1 of a weight. */
function toNumber(text, column) {
  const number = Number(text.replace(/,(?=\d{3}\b)/g, "").replace(/%$/, ""));
  if (text.endsWith("%")) return column.percent ? number : number / 100;
  // In floating point 100 * 0.9743 is not 97.43.
  return column.fraction && number <= 1 ? Number((100 * number).toPrecision(12)) : number;
}

/** Numbers are compared as they are shown. */
function compare(column, cell, operator, wanted, number) {
  const text = cellText(column, cell).toLowerCase();
  const shown = column.kind === "choice" ? column.values[cell]
    : column.kind === "number" && cell !== null ? Number(cell.toFixed(column.digits)) : null;
  if (operator === "=" || operator === "!=") {
    return (text === wanted || shown === number) === (operator === "=");
  }
  if (isNumeric(column)) return shown !== null && COMPARE[operator](shown, number);
  return COMPARE[operator](text, wanted);
}

function cellText(column, cell) {
  if (cell === null) return "";
  if (column.kind === "choice") return column.texts[cell];
  if (column.kind === "mark") return column.texts[cell][0];
  return cell.toLocaleString("en", { minimumFractionDigits: column.digits,
    maximumFractionDigits: column.digits });
}
