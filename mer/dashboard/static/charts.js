"use strict";
// Plotly in the page's colours. A chart is a function that gives [traces, layout]; it is drawn again when the
// system turns light or dark.

const drawn = new Map();

function pageData() {
  return JSON.parse(document.getElementById("data").textContent);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function series(number) {
  const all = colour("series").split(/\s+/);
  return all[number % all.length];
}

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// Between two of the page's colours, at 0..1.
function mixed(low, high, at) {
  const [one, other] = [channels(colour(low)), channels(colour(high))];
  return one.map((value, k) => value + at * (other[k] - value));
}

// Black or white, whichever has more contrast on [r, g, b] (WCAG's relative luminance).
function readableOn(rgb) {
  const [r, g, b] = rgb.map((value) => ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

function faded(hex, alpha) {
  const [r, g, b] = channels(hex);
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}

// Plotly reads <b> and the like in texts; names of the data are text.
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function themed(layout) {
  const axis = { gridcolor: colour("grid"), zerolinecolor: colour("grid"), linecolor: colour("rule"), automargin: true };
  const result = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("text") },
    margin: { l: 60, r: 16, t: 16, b: 60 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { font: { family: getComputedStyle(document.body).fontFamily } },
    ...layout,
  };
  for (const key of ["xaxis", "yaxis"]) {
    result[key] = { ...axis, ...layout[key] };
    if (result[key].title) result[key].title = { ...result[key].title, standoff: 10 };
  }
  return result;
}

// Draw a chart into the element of this id, where the page has it. Gives the element.
function draw(id, chart) {
  const element = document.getElementById(id);
  if (!element) return null;
  drawn.set(id, chart);
  const [traces, layout] = chart();
  Plotly.react(element, traces, themed(layout), { responsive: true, displayModeBar: false });
  return element;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const [id, chart] of drawn) draw(id, chart);
});
