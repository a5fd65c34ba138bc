"use strict";
// Charts, drawn by plotly when they come into view, in the colours of the theme.
const SERIES = {
  light: ["#4f46e5", "#b45309", "#0f766e", "#be185d", "#3f6212", "#7c3aed", "#0369a1", "#57534e"],
  dark: ["#9c98ff", "#fbb65a", "#5eead4", "#f9a8d4", "#bef264", "#c4b5fd", "#7dd3fc", "#d6d3d1"],
};
const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const series = (number) => SERIES[isDark() ? "dark" : "light"][number % SERIES.light.length];
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
// plotly reads some HTML in names and labels
const literal = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function axis(title, percent) {
  return {
    title: { text: literal(title), font: { size: 12 }, standoff: 8 }, tickfont: { size: 11 }, gridcolor: colour("--line"),
    zeroline: false, linecolor: colour("--line"), automargin: true, tickformat: percent ? ",.2~%" : undefined,
    autorangeoptions: percent ? { clipmin: -0.05, clipmax: 1.05 } : undefined,
  };
}

function layoutOf(chart) {
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 12, r: 12, t: 8, b: 8 },
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("--quiet") },
    hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 12 } }, hovermode: chart.bars.length ? "closest" : "x unified",
    xaxis: { ...axis(chart.x_label, chart.diagonal), type: chart.log_x ? "log" : "-" }, yaxis: axis(chart.y_label, chart.percent),
    shapes: [], annotations: [], barmode: "group", bargap: 0.1, dragmode: "zoom",
  };
  if (chart.log_x) {
    const positions = [...new Set(chart.lines.flatMap((line) => line.x))];
    const round = [1, 2, 5, 10, 20, 50, 100].filter((x) => positions.includes(x));
    if (positions.length > 12) Object.assign(layout.xaxis, { tickvals: round, ticktext: round.map(String) });
    else Object.assign(layout.xaxis, { tickvals: positions, ticktext: positions.map((x) => x.toLocaleString("en")) });
  }
  if (chart.bars.length) Object.assign(layout.xaxis, { showticklabels: chart.bars[0].names.length <= 40, type: "category", showgrid: false });
  if (chart.diagonal) layout.shapes.push({ type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { color: colour("--quiet"), dash: "dot", width: 1 } });
  const positions = chart.lines.flatMap((line) => line.x);
  const middle = (Math.min(...positions) + Math.max(...positions)) / 2;
  for (const mark of chart.marks) {
    const side = mark.x > middle ? { xanchor: "right", xshift: -4 } : { xanchor: "left", xshift: 4 };
    layout.shapes.push({ type: "line", x0: mark.x, x1: mark.x, yref: "paper", y0: 0, y1: 1, line: { color: colour("--text"), dash: "dash", width: 1.5 } });
    layout.annotations.push({ x: mark.x, yref: "paper", y: 1, yanchor: "top", ...side, showarrow: false, text: literal(mark.label), font: { color: colour("--text"), size: 12 } });
  }
  return layout;
}

function tracesOf(chart) {
  const unit = chart.percent ? "%{y:.1%}" : "%{y:.4~g}";
  const named = new Set(chart.lines.filter((line) => line.style !== "faint").map((line) => line.name));
  const lines = chart.lines.map((line) => ({
    x: line.x, y: line.y, name: literal(line.name), type: "scatter", mode: line.style === "dots" ? "lines+markers" : "lines",
    line: { color: series(line.colour), width: line.style === "faint" ? 1 : 2.25, shape: line.style === "area" ? "hvh" : "linear", simplify: false },
    opacity: line.style === "faint" ? 0.3 : 1, marker: { size: 8, color: series(line.colour) }, fill: line.style === "area" ? "tozeroy" : "none",
    fillcolor: line.style === "area" ? `${series(line.colour)}38` : undefined, text: line.notes.map(literal),
    hovertemplate: `${unit}${line.notes.length ? " · %{text}" : ""}`, hoverinfo: line.style === "faint" ? "skip" : undefined,
    showlegend: line.style !== "faint" && named.size > 1,
  }));
  for (const line of lines) if (line.hoverinfo === "skip") delete line.hovertemplate;
  const bars = chart.bars.map((bar) => ({
    x: bar.names.map((_, place) => place), y: bar.values, text: bar.names.map(literal), name: literal(bar.name), type: "bar", textposition: "none",
    marker: { color: series(bar.colour) }, hovertemplate: `%{text}: ${unit}<extra></extra>`, showlegend: chart.bars.length > 1,
  }));
  return [...lines, ...bars];
}

const drawn = new Set();
function draw(place) {
  const chart = payload.charts[place.dataset.chart];
  const layout = layoutOf(chart);
  if (chart.bars.length && chart.bars[0].names.length <= 40) {
    Object.assign(layout.xaxis, { tickvals: chart.bars[0].names.map((_, n) => n), ticktext: chart.bars[0].names.map((name) => literal(name.slice(0, 24))) });
  }
  Plotly.react(place, tracesOf(chart), layout, { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false, doubleClick: "reset" });
  drawn.add(place);
}
const arriving = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    arriving.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "400px" });
document.querySelectorAll("[data-chart]").forEach((place) => arriving.observe(place));
onTheme.push(() => drawn.forEach(draw));
