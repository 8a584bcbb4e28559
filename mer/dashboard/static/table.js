"use strict";
// Sorts the tables of class "sortable" by their cells' data-value. Rows without a value stay last.

function sortTable(table, key, direction) {
  const heads = [...table.tHead.rows[0].cells];
  const column = heads.findIndex((head) => head.dataset.key === key);
  for (const head of heads) if (head.dataset.key) head.setAttribute("aria-sort", "none");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  if (column < 0) {
    rows.sort((one, other) => one.dataset.place - other.dataset.place);
  } else {
    heads[column].setAttribute("aria-sort", direction);
    const number = heads[column].dataset.kind === "number";
    const sign = direction === "descending" ? -1 : 1;
    const valueOf = (row) => row.cells[column].dataset.value ?? "";
    rows.sort((one, other) => {
      const [a, b] = [valueOf(one), valueOf(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = number ? a - b : a.localeCompare(b, undefined, { numeric: true });
      return sign * order || one.dataset.place - other.dataset.place;
    });
  }
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tBodies[0].rows].forEach((row, place) => (row.dataset.place = place));
  const name = `${table.id}-sort`;
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button")?.addEventListener("click", () => {
      const first = head.dataset.kind === "number" ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      const now = head.getAttribute("aria-sort");
      const next = now === "none" ? first : now === first ? second : "";
      writeState({ [name]: next && `${head.dataset.key}.${next}` });
    });
  }
  let shown = "";
  onState((state) => {
    const wanted = state.get(name) ?? "";
    if (wanted === shown) return;
    shown = wanted;
    const [key, direction] = wanted.split(".");
    sortTable(table, key, direction === "ascending" ? "ascending" : "descending");
  });
}
