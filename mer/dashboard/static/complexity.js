"use strict";
// Parameters against UF1, of our runs and of what papers print.

const { runs, printed } = pageData();
const counted = runs.filter((run) => typeof run.parameters === "number" && run.subsets.length);

function scatterChart() {
  const wanted = readState().get("data");
  const shown = counted.filter((run) => !wanted || run.data === wanted);
  const groups = [...new Set(shown.map((run) => run.experiment))].sort();
  const traces = groups.map((group, number) => {
    const own = shown.filter((run) => run.experiment === group);
    const whole = own.map((run) => run.subsets[0]);
    return {
      mode: "markers", name: plain(group), marker: {
        size: 11, color: series(number), symbol: number % 12,
        opacity: own.map((run) => (run.state === "complete" ? 1 : 0.35)), // some folds only
      },
      x: own.map((run) => run.parameters), y: whole.map((subset) => subset.scores.uf1),
      error_y: {
        type: "data", symmetric: false, color: faded(series(number), 0.5), thickness: 1.5, width: 4,
        array: whole.map((subset) => subset.intervals.uf1[1] - subset.scores.uf1),
        arrayminus: whole.map((subset) => subset.scores.uf1 - subset.intervals.uf1[0]),
      },
      customdata: own.map((run) => [plain(run.name + (run.synthetic ? ", SYNTHETIC" : "") + (run.state === "complete" ? "" : ", PARTIAL")), run.page]),
      hovertemplate: "%{customdata[0]}<br>%{x:,} parameters, UF1 %{y:.4f}<extra></extra>",
    };
  });
  const known = printed.filter((each) => each.parameters && each.uf1 !== null);
  if (known.length) traces.push({
    mode: "markers+text", name: "printed", text: known.map((each) => plain(each.label)), textposition: "top center", textfont: { color: colour("soft") }, marker: { size: 12, symbol: "diamond-open", color: colour("soft"), line: { width: 2 } },
    x: known.map((each) => each.parameters), y: known.map((each) => each.uf1),
    customdata: known.map((each) => [plain(`${each.label}, printed in ${each.paper} ${each.table}`), `papers/${encodeURIComponent(each.paper)}.html#${each.table}`]),
    hovertemplate: "%{customdata[0]}<br>%{x:,} parameters, UF1 %{y:.4f}<extra></extra>",
  });
  return [traces, {
    showlegend: true, hovermode: "closest",
    xaxis: { type: "log", title: { text: "trainable parameters" }, exponentformat: "none", dtick: 1, tickformat: ",d" },
    yaxis: { range: [0, 1], title: { text: "UF1" } },
  }];
}

function show(state) {
  for (const row of document.querySelectorAll("#ours tbody tr")) {
    row.hidden = Boolean(state.get("data")) && row.dataset.data !== state.get("data");
  }
  draw("scatter", scatterChart);
}

const form = document.getElementById("filters");
if (form) {
  bindFilters(form);
  onState(show);
}
applyState();
document.getElementById("scatter")?.on("plotly_click", (event) => {
  const [, page] = event.points[0].customdata;
  location.href = page.includes("papers/") ? page : encodeURI(page).replaceAll("#", "%23").replaceAll("?", "%3F");
});
