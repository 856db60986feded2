"use strict";
const listing = document.getElementById("listing");
const body = listing.tBodies[0];
const rows = Array.from(body.rows);
const filter = document.getElementById("filter");
const status = document.getElementById("status");
const shown = document.getElementById("shown");
const STATUS_COLUMN = 3;

function show() {
  const wanted = filter.value.toLowerCase();
  const anyStatus = status.selectedIndex === 0;
  let count = 0;
  for (const row of rows) {
    const fits = anyStatus || row.cells[STATUS_COLUMN].textContent === status.value;
    row.hidden = !(fits && row.textContent.toLowerCase().includes(wanted));
    count += !row.hidden;
  }
  shown.textContent = `${count} of ${rows.length} cases`;
}

function key(row, column, numeric) {
  const text = row.cells[column].textContent;
  if (!numeric) return text;
  return text === "" ? NaN : Number(text.replace(/\u202f/g, ""));
}

function sort(head) {
  const column = head.cellIndex;
  const numeric = head.classList.contains("n");
  const sign = head.ariaSort === "ascending" ? -1 : 1;
  const keyed = rows.map((row) => [key(row, column, numeric), row]);
  // Empty cells go last whichever way the others are sorted.
  const compare = numeric
    ? (a, b) => Number.isNaN(a) - Number.isNaN(b) || sign * (a - b) || 0
    : (a, b) => (a === "") - (b === "") || sign * a.localeCompare(b, "en", { numeric: true });
  keyed.sort(([a], [b]) => compare(a, b));
  body.append(...keyed.map(([, row]) => row));
  for (const other of head.parentElement.cells) other.ariaSort = null;
  head.ariaSort = sign === 1 ? "ascending" : "descending";
}

for (const head of listing.tHead.rows[0].cells) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sort(head));
  head.addEventListener("keydown", (event) => event.key === "Enter" && sort(head));
}
filter.addEventListener("input", show);
status.addEventListener("change", show);
show();
