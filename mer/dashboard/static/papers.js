"use strict";
// Scores of one paper, of two, or of all: what each prints, and ours.

const scores = pageData();
const papers = [...new Set(scores.map((score) => score.paper))];
const FIRST_LINES = 24; // more cannot be read in one chart
const ROW_PIXELS = 24;

function fits(score, state) {
  const chosen = [state.get("paper"), state.get("and")].filter(Boolean);
  if (chosen.length && !chosen.includes(score.paper)) return false;
  if (["data", "metric"].some((key) => state.get(key) && score[key] !== state.get(key))) return false;
  if (state.get("of") === "ours") return score.ours !== null;
  return state.get("of") !== "own" || !score.quoted;
}

// Those with a score of ours come first, then the best printed ones.
function charted(state) {
  const value = (score) => score.printed ?? score.ours;
  return scores
    .filter((score) => fits(score, state))
    .sort((one, other) => (one.ours === null) - (other.ours === null) || value(other) - value(one))
    .slice(0, FIRST_LINES);
}

// What all lines have in common stands in no line; on a phone only the colour tells the paper.
function lineName(score, lines) {
  const narrow = document.getElementById("scores-chart").clientWidth < 600;
  const differs = (key) => lines.some((each) => each[key] !== lines[0][key]);
  const keys = narrow ? ["data", "metric"] : ["paper", "data", "metric"];
  const parts = keys.filter(differs).map((key) => score[key]);
  const room = narrow ? 20 : 44;
  const method = score.method.length > room ? `${score.method.slice(0, room - 1)}…` : score.method;
  return plain([method, parts.join(", ")].filter(Boolean).join(" · "));
}

function scoresChart() {
  const lines = charted(readState());
  const axis = { tickvals: lines.map((_, at) => at), ticktext: lines.map((score) => lineName(score, lines)) };
  const traces = [];
  for (const paper of papers) {
    const at = lines.map((score, place) => [score, place]).filter(([score]) => score.paper === paper);
    const base = series(papers.indexOf(paper));
    for (const [key, name, symbol] of [["printed", "printed", "diamond-open"], ["ours", "ours", "circle"]]) {
      const own = at.filter(([score]) => score[key] !== null);
      if (own.length) traces.push({
        mode: "markers", name: plain(`${paper}, ${name}${key === "ours" && own.some(([score]) => score.synthetic) ? ", SYNTHETIC" : ""}`), x: own.map(([score]) => score[key]), y: own.map(([, place]) => place),
        marker: { symbol, size: 10, color: base, line: { width: 2, color: base } },
        customdata: own.map(([score]) => [
          plain(score.method), plain([score.paper, score.table, score.data, score.metric].join(", ")),
          `papers/${encodeURIComponent(score.paper)}.html#${score.table}`,
        ]),
        hovertemplate: `%{customdata[0]}<br>%{customdata[1]}<br>${name} %{x:.4f}<extra></extra>`,
      });
    }
  }
  const shapes = lines.flatMap(({ printed, ours }, at) => printed !== null && ours !== null
    ? [{ type: "line", x0: printed, x1: ours, y0: at, y1: at, layer: "below", line: { color: colour("soft"), width: 1.5 } }]
    : []);
  return [traces, {
    shapes, showlegend: true, hovermode: "closest", height: 110 + ROW_PIXELS * lines.length,
    xaxis: { range: [0, 1], title: { text: "score" } },
    yaxis: { ...axis, range: [lines.length - 0.5, -0.5], zeroline: false, tickfont: { size: 12 } },
  }];
}

function show(state) {
  const rows = document.querySelectorAll("#scores tbody tr");
  for (const row of rows) row.hidden = !fits(scores[row.dataset.place], state);
  const shown = scores.filter((score) => fits(score, state)).length;
  const charts = Math.min(shown, FIRST_LINES);
  document.getElementById("count").textContent = `${shown === scores.length ? shown : `${shown} of ${scores.length}`} scores`
    + (charts < shown ? `; the chart has the first ${charts}: those of ours, then the best printed` : "");
  document.getElementById("none").hidden = shown > 0;
  for (const id of ["scores-chart", "chart-hint", "scores-details"]) document.getElementById(id).hidden = !shown;
  if (!shown) return;
  document.getElementById("scores-chart").style.height = `${110 + ROW_PIXELS * charts}px`;
  draw("scores-chart", scoresChart);
}

bindFilters(document.getElementById("filters"));
onState(show);
applyState();
document.getElementById("scores-chart").on("plotly_click", (event) => {
  location.href = event.points[0].customdata[2];
});
