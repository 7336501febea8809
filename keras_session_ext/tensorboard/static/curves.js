// The curves of all chosen runs: which axis they stand on, which part of it is in view, which charts are shown.
import { boundWindow, fullWindow, gapsDominate, makeAxis } from "./layout.js";
import { busyIntervals, firstTime } from "./read.js";
import { chartsOf } from "./curve_data.js";
import { CHART, FEW_RESTARTS, createChart, drawChart, nextPlace, placeAt, showCursor } from "./chart.js";
import { hideCard, showCard } from "./card.js";
import { button, checkbox, html, svg } from "./dom.js";
import { differences } from "./compare.js";
import { plural } from "./format.js";

const MANY_CHARTS = 6; // more are shown when they are asked for
const DRAG_PIXELS = 4;
export const RUN_TONES = ["blue", "orange", "teal", "pink", "violet", "gold", "green", "red", "slate"];

/** The section of curves; `card` is the card that tells what is under the pointer. */
export function createCurves(card) {
  const section = { card, runs: [], charts: new Map(), byTime: false, log: false, window: null, all: false, fold: null };
  section.grid = html("div", { class: "kse-charts" });
  section.below = html("div", { class: "kse-charts-more" });
  section.key = html("ul", { class: "kse-curves-key", "data-role": "curves-key", "aria-label": "Runs" });
  section.differences = html("div", {});
  const head = html("div", { class: "kse-curves-head" }, html("h2", {}, "Curves"), axisChoice(section));
  head.append(checkbox("Log scale", { "data-role": "log" }, (on) => setChoice(section, { log: on })));
  section.whole = button("Whole", { "data-role": "curves-reset", "aria-label": "Show the whole curves" }, () =>
    setChoice(section, { window: null }),
  );
  head.append(section.whole, section.key);
  const about = { class: "kse-curves", "aria-label": "Curves", "data-role": "curves", hidden: "" };
  section.element = html("section", about, head, section.grid, section.below, section.differences);
  return section;
}

function axisChoice(section) {
  const choice = (label, byTime) => {
    const input = html("input", { type: "radio", name: "kse-axis", "data-role": byTime ? "by-time" : "by-step" });
    input.checked = section.byTime === byTime;
    input.addEventListener("change", () => input.checked && setChoice(section, { byTime, window: null }));
    return html("label", { class: "kse-check" }, input, html("span", {}, label));
  };
  const about = { class: "kse-axis-choice", role: "radiogroup", "aria-label": "Over what" };
  return html("span", about, choice("Steps", false), choice("Time since the start", true));
}

function setChoice(section, choice) {
  Object.assign(section, choice);
  hideCard(section.card);
  for (const chart of section.charts.values()) chart.cursor = null;
  drawCurves(section);
}

/** Takes over the chosen runs `{name, title, tone, model}`; `fold` as the timeline's, null lets the data decide. */
export function setCurves(section, runs, fold) {
  section.runs = runs.map((run) => ({ ...run, start: firstTime(run.model) }));
  section.fold = fold;
  section.contents = chartsOf(section.runs);
  section.element.hidden = !section.contents.length;
  section.key.replaceChildren(...(runs.length > 1 ? runs.map(keyEntry) : restartKey(section.runs)));
  const table = runs.length > 1 ? [differences(section.runs)] : [];
  if (section.differences.textContent !== table.map((node) => node.textContent).join(""))
    section.differences.replaceChildren(...table); // else what was opened or scrolled stays so
  showMore(section);
  drawCurves(section);
}

function keyEntry({ title, tone }) {
  const sample = svg("path", { class: `kse-line kse-tone-${tone}`, d: "M0,6h18" });
  return html("li", { dir: "auto" }, svg("svg", { width: 18, height: 12, "aria-hidden": "true" }, sample), title);
}

/** What the signs beneath a chart of one run say, where they occur. */
function restartKey([run]) {
  if (!run || !run.model.curves.restarts.length) return [];
  const sample = (node, text) => html("li", {}, svg("svg", { width: 14, height: 12, "aria-hidden": "true" }, node), text);
  const line = (side) => svg("path", { class: `kse-restart kse-restart-${side}`, d: "M7,0V12" });
  const again = svg("rect", { class: "kse-again", width: 14, height: 12 });
  const { length } = run.model.curves.thrown;
  const thrown = length && length <= 2 * FEW_RESTARTS ? [sample(again, "thrown away, trained again")] : [];
  return [sample(line("ended"), "ended"), sample(line("begun"), "went on"), ...thrown];
}

function showMore(section) {
  const { contents, runs } = section;
  const hidden = contents.length - MANY_CHARTS;
  const more = button(
    section.all ? "Show fewer charts" : `Show ${plural(hidden, "more chart")}`,
    { "data-role": "more-charts" },
    () => {
      section.all = !section.all;
      showMore(section);
      drawCurves(section);
    },
  );
  const leftOut = Array.from(new Set(runs.flatMap(({ model }) => model.curves.leftOut)));
  const note = `${plural(leftOut.length, "metric")} beyond the first 64 lines are not drawn: ${leftOut.slice(0, 10).join(", ")}${leftOut.length > 10 ? ", …" : ""}`;
  section.below.replaceChildren(
    ...(hidden > 0 ? [more] : []),
    ...(leftOut.length ? [html("p", { class: "kse-quiet", dir: "auto" }, note)] : []),
  );
}

// ---- drawing ------------------------------------------------------------------------------------

export function drawCurves(section) {
  if (section.element.hidden) return;
  const contents = section.all ? section.contents : section.contents.slice(0, MANY_CHARTS);
  const charts = contents.map(({ name }) => chartFor(section, name));
  const elements = charts.map(({ element }) => element);
  if (elements.some((element, index) => section.grid.children[index] !== element) || section.grid.children.length !== elements.length)
    section.grid.replaceChildren(...elements);
  const shown = { ...whatIsShown(section), runs: section.runs, byTime: section.byTime, log: section.log };
  section.whole.hidden = !section.window;
  charts.forEach((chart, index) => drawChart(chart, contents[index], shown));
}

function chartFor(section, name) {
  if (!section.charts.has(name)) {
    const chart = createChart({ card: section.card });
    section.charts.set(name, chart);
    listenToChart(section, chart);
  }
  return section.charts.get(name);
}

function whatIsShown(section) {
  if (!section.byTime) {
    const [low, high] = stepRange(section.contents);
    return { axis: null, window: section.window || [low, high] };
  }
  const intervals = section.runs.flatMap(({ model, start }) => busyIntervals(model, start));
  const fold = section.fold === null ? gapsDominate(intervals) : section.fold;
  const axis = makeAxis(intervals, fold);
  return { axis, window: section.window ? boundWindow(axis, section.window) : fullWindow(axis) };
}

/** From the first step, or 0 where that is near, to the last; with a little room. */
function stepRange(contents) {
  let [low, high] = [Infinity, -Infinity];
  for (const { lines } of contents) {
    for (const { points } of lines) {
      low = Math.min(low, points[0].step);
      high = Math.max(high, points[points.length - 1].step);
    }
  }
  const from = low < 0.25 * high ? 0 : low;
  const edge = Math.max(0.5, (high - from) * 0.02);
  return [from - edge, high + edge];
}

// ---- pointer and keys ---------------------------------------------------------------------------

function listenToChart(section, chart) {
  const { area } = chart;
  area.addEventListener("pointermove", (event) => hoverChart(section, chart, event));
  area.addEventListener("pointerleave", () => leaveChart(section, chart));
  area.addEventListener("blur", () => leaveChart(section, chart));
  area.addEventListener("pointerdown", (event) => beginRange(chart, event));
  area.addEventListener("pointerup", (event) => endRange(section, chart, event));
  area.addEventListener("pointercancel", () => dropRange(chart));
  area.addEventListener("dblclick", () => setChoice(section, { window: null }));
  area.addEventListener("keydown", (event) => pressOnChart(section, chart, event));
}

function hoverChart(section, chart, event) {
  if (!chart.frame) return;
  if (chart.range) {
    const ends = [chart.range.from, event.clientX].sort((a, b) => a - b);
    const { left } = chart.area.getBoundingClientRect();
    chart.range.node.style.left = `${ends[0] - left}px`;
    chart.range.node.style.width = `${ends[1] - ends[0]}px`;
    return;
  }
  const told = showCursor(chart, placeAt(chart, event.clientX));
  if (told) showCard(section.card, told.card, event.clientX, event.clientY);
  else hideCard(section.card);
}

function leaveChart(section, chart) {
  if (!chart.frame || chart.range) return;
  showCursor(chart, null);
  hideCard(section.card);
}

function beginRange(chart, event) {
  if (event.button !== 0 || !chart.frame) return;
  chart.range = { from: event.clientX, node: html("div", { class: "kse-range" }) };
  chart.area.append(chart.range.node);
  chart.area.setPointerCapture(event.pointerId);
}

function dropRange(chart) {
  if (chart.range) chart.range.node.remove();
  chart.range = null;
}

/** A drag along the axis shows that part of it, in all charts. */
function endRange(section, chart, event) {
  const { range } = chart;
  dropRange(chart);
  if (!range || Math.abs(event.clientX - range.from) < DRAG_PIXELS) return;
  const ends = [range.from, event.clientX].sort((a, b) => a - b).map((x) => unitAt(chart, x));
  setZoom(section, ends);
}

function unitAt(chart, clientX) {
  const { byTime, window, across } = chart.frame;
  if (!byTime) return placeAt(chart, clientX);
  const left = chart.area.getBoundingClientRect().left + CHART.left;
  return window[0] + (clientX - left) / across.scale.ratio;
}

function setZoom(section, [from, to]) {
  const [low, high] = section.byTime ? fullWindow(whatIsShown(section).axis) : stepRange(section.contents);
  const least = section.byTime ? 0.02 : 1;
  const ends = [Math.max(low, from), Math.min(high, to)];
  if (ends[1] - ends[0] < least) return;
  setChoice(section, { window: ends[0] <= low && ends[1] >= high ? null : ends });
}

function pressOnChart(section, chart, event) {
  if (!chart.frame || event.ctrlKey || event.metaKey || event.altKey) return;
  const { key } = event;
  if (key === "ArrowLeft" || key === "ArrowRight") readNext(section, chart, key === "ArrowRight" ? 1 : -1);
  else if (key === "Escape") leaveChart(section, chart);
  else if (key === "+" || key === "=") zoomChart(section, chart, 1 / 1.5);
  else if (key === "-") zoomChart(section, chart, 1.5);
  else if (key === "Home" || key === "0") setChoice(section, { window: null });
  else return;
  event.preventDefault();
}

function readNext(section, chart, side) {
  const place = nextPlace(chart, side);
  if (place === null) return;
  const told = showCursor(chart, place);
  if (!told) return;
  const { left, top } = chart.area.getBoundingClientRect();
  showCard(section.card, told.card, left + told.x, top + 20);
}

function zoomChart(section, chart, factor) {
  const [from, to] = chart.frame.window;
  const half = ((to - from) * factor) / 2;
  setZoom(section, [(from + to) / 2 - half, (from + to) / 2 + half]);
}
