"use strict";
// The overview: which rows are shown, and which runs are chosen for a comparison.

const table = document.getElementById("runs");

function fits(row, state) {
  for (const key of ["experiment", "data", "protocol", "state"]) {
    if (state.get(key) && row.dataset[key] !== state.get(key)) return false;
  }
  const text = row.textContent.toLowerCase() + row.dataset.name.toLowerCase();
  return (state.get("q") ?? "").toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function showRows(state) {
  const rows = [...table.tBodies[0].rows];
  for (const row of rows) row.hidden = !fits(row, state);
  const shown = rows.filter((row) => !row.hidden).length;
  const runs = rows.length === 1 ? "run" : "runs";
  document.getElementById("count").textContent =
    shown === rows.length ? `${shown} ${runs}` : `${shown} of ${rows.length} ${runs}`;
  document.getElementById("none").hidden = shown > 0;
}

function showChosen(state) {
  const chosen = state.getAll("run");
  for (const box of table.querySelectorAll("input[type=checkbox]")) box.checked = chosen.includes(box.value);
  const link = document.getElementById("compare");
  link.hidden = chosen.length < 2;
  link.textContent = `Compare ${chosen.length} runs`;
  link.href = `compare.html#${new URLSearchParams(chosen.map((name) => ["run", name]))}`;
}

if (table) {
  bindFilters(document.getElementById("filters"));
  table.addEventListener("change", (event) => {
    const others = readState().getAll("run").filter((name) => name !== event.target.value);
    writeState({ run: event.target.checked ? [...others, event.target.value] : others });
  });
  onState(showRows);
  onState(showChosen);
  applyState();
}
