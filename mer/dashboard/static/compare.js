"use strict";
// Two or more runs beside each other: scores with intervals, and McNemar's test of each pair.

const runs = pageData().filter((run) => run.right);
const metrics = { accuracy: "Accuracy", uf1: "UF1", uar: "UAR" };

function chosenRuns() {
  const names = readState().getAll("run");
  return names.map((name) => runs.find((run) => run.name === name)).filter(Boolean);
}

function subsetName(chosen) {
  const wanted = readState().get("subset");
  return chosen.some((run) => run.subsets.some((subset) => subset.name === wanted)) ? wanted : "all";
}

function label(run) {
  return `${run.experiment}/${run.variant} · ${run.data} · ${run.protocol} · seed ${run.seed}`
    + (run.state === "complete" ? "" : " · PARTIAL") + (run.synthetic ? " · SYNTHETIC" : "");
}

function cell(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function fill(table, header, rows) {
  const head = document.createElement("thead");
  head.append(document.createElement("tr"));
  head.rows[0].append(...header);
  const body = document.createElement("tbody");
  for (const cells of rows) {
    const row = document.createElement("tr");
    row.append(...cells);
    body.append(row);
  }
  table.replaceChildren(head, body);
}

function barsChart() {
  const chosen = chosenRuns();
  const name = subsetName(chosen);
  const traces = chosen.map((run, number) => {
    const subset = run.subsets.find((each) => each.name === name);
    const keys = subset ? Object.keys(metrics) : [];
    return {
      type: "bar", name: plain(label(run)), marker: { color: series(number) },
      x: keys.map((key) => metrics[key]), y: keys.map((key) => subset.scores[key]),
      error_y: {
        type: "data", symmetric: false, color: colour("text"), thickness: 1.5, width: 5,
        array: keys.map((key) => subset.intervals[key][1] - subset.scores[key]),
        arrayminus: keys.map((key) => subset.scores[key] - subset.intervals[key][0]),
      },
      // The number of the run in the list: colours alone would not tell.
      text: keys.map(() => String(number + 1)), textposition: "inside", insidetextanchor: "start", textangle: 0,
      textfont: { color: readableOn(channels(series(number))) },
      hovertemplate: `${plain(label(run))}: %{y:.4f}<extra></extra>`,
    };
  });
  return [traces, {
    barmode: "group", showlegend: false, margin: { l: 48, r: 12, t: 16, b: 40 },
    yaxis: { range: [0, 1] }, xaxis: { showgrid: false },
  }];
}

function scoresTable(chosen) {
  const name = subsetName(chosen);
  const header = ["Run", "Clips", ...Object.values(metrics)].map((text, at) => cell("th", text, at ? "number" : ""));
  const rows = chosen.map((run, number) => {
    const subset = run.subsets.find((each) => each.name === name);
    const first = document.createElement("th");
    const link = cell("a", `${number + 1} ${label(run)}`);
    link.href = encodeURI(run.page).replaceAll("#", "%23").replaceAll("?", "%3F");
    first.append(link);
    const scores = Object.keys(metrics).map((key) => {
      if (!subset) return cell("td", "–", "number");
      const made = cell("td", subset.scores[key].toFixed(4), "number");
      made.append(cell("small", subset.intervals[key].map((bound) => bound.toFixed(4)).join(" – ")));
      return made;
    });
    return [first, cell("td", subset ? subset.clips : "–", "number"), ...scores];
  });
  fill(document.getElementById("scores"), header, rows);
}

// Twice the smaller tail of a binomial of b + c with probability 1/2, at most 1; as mer.statistics has it.
// Summed as logarithms: 2 to the power of the clips may be no number.
function twoSided(b, c) {
  let ways = 0;
  let tail = 0;
  for (let k = 0; k < Math.min(b, c); k++) {
    ways += Math.log((b + c - k) / (k + 1));
    tail = Math.max(tail, ways) + Math.log1p(Math.exp(-Math.abs(tail - ways)));
  }
  return Math.min(1, Math.exp(Math.LN2 + tail - (b + c) * Math.LN2));
}

function testsTable(chosen) {
  const header = ["First", "Second", "Only first right", "Only second right", "p"].map((text, at) => cell("th", text, at > 1 ? "number" : ""));
  const rows = [];
  chosen.forEach((first, at) => chosen.slice(at + 1).forEach((second, after) => {
    const names = [cell("th", `${at + 1} ${label(first)}`), cell("td", `${at + after + 2} ${label(second)}`)];
    if (first.clipset !== second.clipset) {
      const why = cell("td", "other clips or labels: not comparable");
      why.colSpan = 3;
      rows.push([...names, why]);
      return;
    }
    let [b, c] = [0, 0];
    for (let k = 0; k < first.right.length; k++) {
      b += first.right[k] > second.right[k];
      c += first.right[k] < second.right[k];
    }
    const p = twoSided(b, c);
    rows.push([...names, cell("td", b, "number"), cell("td", c, "number"), cell("td", p.toPrecision(3), "number p")]);
  }));
  fill(document.getElementById("tests"), header, rows);
}

function show() {
  const chosen = chosenRuns();
  const list = document.getElementById("chosen");
  list.replaceChildren(...chosen.map((run, number) => {
    const item = cell("li", "");
    const swatch = cell("span", "", "swatch");
    swatch.style.background = series(number);
    item.append(swatch, cell("span", `${number + 1} ${label(run)}`));
    const button = cell("button", "✕");
    button.type = "button";
    button.setAttribute("aria-label", `Leave out ${label(run)}`);
    button.addEventListener("click", () => {
      writeState({ run: readState().getAll("run").filter((name) => name !== run.name) });
    });
    item.append(button);
    return item;
  }));
  document.getElementById("hint").hidden = chosen.length > 1;
  document.getElementById("result").hidden = chosen.length < 2;
  const names = [...new Set(chosen.flatMap((run) => run.subsets.map((subset) => subset.name)))];
  const choice = document.getElementById("subset");
  choice.replaceChildren(...(names.length ? names : ["all"]).map((name) => cell("option", name)));
  choice.value = subsetName(chosen);
  if (chosen.length < 2) return;
  draw("bars", barsChart);
  scoresTable(chosen);
  testsTable(chosen);
}

document.getElementById("names").replaceChildren(...runs.map((run) => {
  const option = document.createElement("option");
  option.value = run.name;
  return option;
}));
document.getElementById("chooser").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("subset").addEventListener("change", (event) => writeState({ subset: event.target.value }));
document.getElementById("add").addEventListener("change", (event) => {
  const { value } = event.target;
  const names = readState().getAll("run");
  if (!runs.some((run) => run.name === value) || names.includes(value)) return;
  event.target.value = "";
  writeState({ run: [...names, value] });
});
onState(show);
applyState();
