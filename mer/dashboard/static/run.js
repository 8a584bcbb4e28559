"use strict";
// The page of a run: its charts, and the wrong clips that are shown.

const data = pageData();
const FIRST_CLIPS = 42;
const FEW_SUBJECTS = 30; // that there is room to name below their bars
const LOSSES = { train_loss: "training loss", val_loss: "validation loss" };

function subsetOf(state) {
  return data.subsets.find((subset) => subset.name === state.get("subset")) ?? data.subsets[0];
}

function confusionChart() {
  const state = readState();
  const { matrix } = subsetOf(state);
  const totals = matrix.map((row) => row.reduce((sum, count) => sum + count, 0));
  const percents = matrix.map((row, at) => row.map((count) => (totals[at] ? (100 * count) / totals[at] : null)));
  const texts = matrix.map((row, at) =>
    row.map((count, to) => (totals[at] ? `${count}<br>${percents[at][to].toFixed(1)} %` : "0")));
  // Plotly's own choice of a text colour is grey on middling cells.
  const annotations = texts.flatMap((row, at) => row.map((text, to) => ({
    x: to, y: at, text, showarrow: false,
    font: { color: readableOn(mixed("heat-low", "heat-high", (percents[at][to] ?? 0) / 100)) },
  })));
  const names = data.classes.map(plain);
  const places = names.map((_, at) => at);
  const [from, to] = [state.get("true"), state.get("predicted")].map((name) => data.classes.indexOf(name));
  const shapes = from >= 0 && to >= 0
    ? [{ type: "rect", x0: to - 0.5, x1: to + 0.5, y0: from - 0.5, y1: from + 0.5, line: { color: colour("lower"), width: 4 } }]
    : [];
  const ticks = { tickvals: places, showgrid: false, zeroline: false };
  return [
    [{
      type: "heatmap", x: places, y: places, z: percents, text: texts, zmin: 0, zmax: 100,
      xgap: 3, ygap: 3, hoverongaps: false, showscale: false,
      customdata: matrix.map((row, at) => row.map((_, to) => `${names[at]} taken for ${names[to]}`)),
      hovertemplate: "%{customdata}: %{text}<extra></extra>",
      colorscale: [[0, colour("heat-low")], [1, colour("heat-high")]],
    }],
    {
      shapes, annotations, margin: { l: 60, r: 12, t: 12, b: 60 },
      xaxis: { ...ticks, ticktext: names, title: { text: "predicted" } },
      yaxis: { ...ticks, ticktext: names.map((name, at) => `${name} (${totals[at]})`), autorange: "reversed", title: { text: "true" } },
    },
  ];
}

function subjectsChart() {
  const shown = data.subjects
    .filter((subject) => [subject.database, "all"].includes(subsetOf(readState()).name))
    .sort((one, other) => one.accuracy - other.accuracy || other.clips - one.clips);
  const databases = [...new Set(shown.map((subject) => subject.database))].sort();
  const order = shown.map((subject) => `${subject.database}/${subject.subject}`);
  const traces = databases.map((database, number) => {
    const own = shown.filter((subject) => subject.database === database);
    return {
      type: "bar", name: plain(database), marker: { color: series(number) },
      x: own.map((subject) => order.indexOf(`${subject.database}/${subject.subject}`)),
      // A bar of no height could not be seen or chosen.
      y: own.map((subject) => Math.max(1, 100 * subject.accuracy)),
      customdata: own.map((subject) => [
        plain(`${subject.database}/${subject.subject}`), subject.right, subject.clips,
        plain(subject.held.map((held) => `${held.label} ${held.right}/${held.clips}`).join(", ")),
      ]),
      hovertemplate: "%{customdata[0]}: %{customdata[1]} of %{customdata[2]} right<br>%{customdata[3]}<extra></extra>",
    };
  });
  const named = order.length <= FEW_SUBJECTS;
  const ticks = { tickvals: order.map((_, at) => at), ticktext: shown.map((subject) => plain(subject.subject)) };
  return [traces, {
    bargap: order.length < 10 ? 0.5 : 0.15, showlegend: databases.length > 1,
    xaxis: { ...(named ? ticks : {}), showticklabels: named, title: { text: "subjects, by accuracy" }, showgrid: false, range: [-0.7, order.length - 0.3] },
    yaxis: { range: [0, 102], title: { text: "accuracy, %" } },
  }];
}

function curvesChart() {
  const name = data.bands.every((band) => band.name.includes("loss")) ? "loss" : "as logged";
  const traces = data.bands.flatMap((band, number) => {
    const base = series(number);
    const area = (low, high, alpha) => ({
      x: [...band.epoch, ...[...band.epoch].reverse()], y: [...high, ...[...low].reverse()],
      fill: "toself", fillcolor: faded(base, alpha), line: { width: 0 }, mode: "lines",
      legendgroup: band.name, showlegend: false, hoverinfo: "skip",
    });
    const several = band.folds > 1;
    return [
      ...(several ? [area(band.min, band.max, 0.12), area(band.low, band.high, 0.25)] : []),
      {
        x: band.epoch, y: band.median, mode: band.epoch.length > 1 ? "lines" : "markers", name: plain(LOSSES[band.name] ?? band.name), legendgroup: band.name,
        line: { color: base, width: 2 }, marker: { color: base },
        customdata: band.epoch.map((_, at) => [band.min[at], band.low[at], band.high[at], band.max[at]]),
        hovertemplate: "epoch %{x}: median %{y}<br>10–90 %: %{customdata[1]} – %{customdata[2]}<br>"
          + "lowest %{customdata[0]}, highest %{customdata[3]}<extra></extra>",
      },
    ];
  });
  return [traces, { showlegend: true, xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: name }, rangemode: "tozero" } }];
}

function epochsChart() {
  const names = { accuracy: "accuracy", uf1: "UF1", uar: "UAR" };
  const traces = Object.entries(names).map(([key, name], number) => ({
    x: data.by_epoch.epoch, y: data.by_epoch[key], mode: "lines", name, line: { color: series(number), width: 2 },
    hovertemplate: "epoch %{x}: %{y:.4f}<extra>" + name + "</extra>",
  }));
  return [traces, { xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: "pooled score" }, rangemode: "tozero" } }];
}

function rocChart() {
  const traces = data.spotting.roc.map((curve, number) => ({
    x: curve.x, y: curve.y, mode: "lines", name: plain(curve.name), line: { color: series(number), width: 2 },
  }));
  traces.push({ x: [0, 1], y: [0, 1], mode: "lines", line: { color: colour("soft"), dash: "dot", width: 1 }, showlegend: false, hoverinfo: "skip" });
  return [traces, {
    showlegend: data.spotting.roc.length > 1,
    xaxis: { range: [0, 1], title: { text: "false positive rate" } }, yaxis: { range: [0, 1.01], title: { text: "true positive rate" } },
  }];
}

function videoName(video) {
  return `${video.database}/${video.subject}/${video.video}`;
}

function videoChart() {
  const videos = data.spotting.videos;
  const video = videos.find((each) => videoName(each) === readState().get("video")) ?? videos[0];
  const band = ([first, last], low, high, fill) => ({
    type: "rect", xref: "x", yref: "paper", x0: first - 0.5, x1: last + 0.5, y0: low, y1: high, fillcolor: fill, line: { width: 0 }, layer: "below",
  });
  const [own, spotted] = [faded(series(2), 0.3), faded(series(1), 0.45)];
  const key = (name, fill) => ({ x: [null], y: [null], mode: "markers", marker: { symbol: "square", size: 12, color: fill }, name });
  return [
    [
      { x: video.frame, y: video.score, mode: "lines", name: "score", line: { color: series(0), width: 2 } },
      key("true", own), key("spotted, at the foot", spotted),
    ],
    {
      showlegend: true, xaxis: { title: { text: "frame" }, showgrid: false }, yaxis: { title: { text: "score" } },
      shapes: [...video.true.map((each) => band(each, 0, 1, own)), ...video.found.map((each) => band(each, 0, 0.07, spotted))],
    },
  ];
}

function showClips(state) {
  const grid = document.getElementById("clip-grid");
  if (!grid) return;
  const figures = [...grid.children];
  for (const figure of figures) {
    figure.hidden = ["true", "predicted", "subset", "subject"].some(
      (key) => state.get(key) && figure.dataset[key] !== state.get(key));
  }
  const order = state.get("order");
  const byName = (one, other) => one.dataset.name.localeCompare(other.dataset.name, undefined, { numeric: true });
  const sign = order === "least" ? 1 : -1;
  figures.sort((one, other) => (order === "name" ? 0 : sign * (one.dataset.probability - other.dataset.probability)) || byName(one, other));
  grid.append(...figures);
  const fitting = figures.filter((figure) => !figure.hidden);
  const shown = fitting.length;
  const more = document.getElementById("more");
  more.hidden = shown <= FIRST_CLIPS || state.get("all") === "yes";
  more.textContent = `Show all ${shown}`;
  if (!more.hidden) for (const figure of fitting.slice(FIRST_CLIPS)) figure.hidden = true;
  const chosen = state.get("true") && state.get("true") === state.get("predicted") ? " These are right: no wrong clip is among them." : "";
  document.getElementById("clip-count").textContent =
    (shown === figures.length ? `${shown} wrong clips` : `${shown} of ${figures.length} wrong clips`) + chosen;
  document.getElementById("none").hidden = shown > 0;
}

function showSubset(state) {
  for (const button of document.querySelectorAll("[data-choice=subset] button")) {
    button.setAttribute("aria-pressed", String(button.value === (state.get("subset") ?? "")));
  }
  if (!data.subsets.length) return;
  draw("confusion-chart", confusionChart);
  draw("subjects-chart", subjectsChart);
}

function showVideo(state) {
  if (!data.spotting?.videos.length) return;
  const choice = document.getElementById("video");
  choice.value = state.get("video") ?? choice.options[0].value;
  if (choice.selectedIndex < 0) choice.selectedIndex = 0;
  draw("video-chart", videoChart);
}

function scrollTo(id) {
  document.getElementById(id)?.scrollIntoView();
}

// Links inside the page keep what is chosen, which a plain #section would lose.
document.querySelector("main").addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link) return;
  event.preventDefault();
  const address = link.getAttribute("href").slice(1);
  const wanted = address.includes("=") ? Object.fromEntries(new URLSearchParams(address)) : { at: address };
  writeState(wanted);
  scrollTo(wanted.at);
});

document.querySelector("[data-choice=subset]")?.addEventListener("click", (event) => {
  if (event.target.matches("button")) writeState({ subset: event.target.value });
});
document.getElementById("video")?.addEventListener("change", (event) => writeState({ video: event.target.value }));

document.getElementById("more")?.addEventListener("click", () => writeState({ all: "yes" }, true));

const clipFilters = document.getElementById("clip-filters");
if (clipFilters) bindFilters(clipFilters);
onState(showSubset);
onState(showVideo);
onState(showClips);
if (data.bands.length) draw("curves-chart", curvesChart);
if (data.by_epoch) draw("epochs-chart", epochsChart);
if (data.spotting) draw("roc-chart", rocChart);
applyState();
document.getElementById("confusion-chart")?.on("plotly_click", (event) => {
  const [from, to] = [data.classes[event.points[0].y], data.classes[event.points[0].x]];
  const again = readState().get("true") === from && readState().get("predicted") === to;
  writeState({ true: again ? "" : from, predicted: again ? "" : to });
});
document.getElementById("subjects-chart")?.on("plotly_click", (event) => {
  const name = event.points[0].customdata[0].replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  writeState({ subject: name, at: "clips" });
  scrollTo("clips");
});
if (readState().get("at")) scrollTo(readState().get("at"));
