// One chart: the lines of one metric, and beneath them the life of the runs: kills, resumes, checkpoints.
import { axisTicks, isFolded, makeScale } from "./layout.js";
import { formatCount, formatDuration, plural } from "./format.js";
import { isValidation, logTicks, nearestPoint, niceTicks, placeOf, shortNumber } from "./curve_data.js";
import { html, svg, symbol, textWidth } from "./dom.js";

export const CHART = { height: 184, left: 52, right: 12, top: 10, tick: 20, strip: 11 };
const STRIPS = 6; // runs whose life is drawn beneath; more would be taller than the chart
export const FEW_RESTARTS = 14; // more are no lines across the chart
const SIGN = 8; // pixels of a kill's or a resume's sign
const NEAR = 7; // pixels within which a restart is told beside a point
const PART_TONES = ["blue", "orange", "teal", "pink", "violet", "gold", "green", "slate", "red"];
const ENDING_WORDS = { interrupted: "killed", failed: "failed", signal: "stopped by a signal" };

/** `actions`: zoom([from, to] or null), card. */
export function createChart(actions) {
  const drawing = svg("svg", { class: "kse-chart-drawing", "aria-hidden": "true" });
  const title = html("h3", { dir: "auto" });
  const key = html("span", { class: "kse-chart-key" });
  const about = { class: "kse-chart-area", tabindex: "0", role: "img", "aria-describedby": actions.card.id };
  const area = html("div", { ...about, "data-role": "chart-area" }, drawing);
  const element = html(
    "figure",
    { class: "kse-chart", "data-role": "chart" },
    html("figcaption", {}, title, key),
    area,
  );
  return { element, area, drawing, title, key, actions, frame: null, cursor: null };
}

// ---- scales -------------------------------------------------------------------------------------

/** Where places are in pixels: on the axis of steps, or on that of time, in which long gaps are folded. */
function acrossScale({ axis, window, byTime }, width) {
  if (byTime) {
    const scale = makeScale(axis, window, width, 0);
    const ticks = axisTicks(scale, true, 62, 26).map(({ x, time }) => ({ x, text: `+${formatDuration(Math.max(0, time))}` }));
    return { x: scale.x, place: scale.time, ticks, scale };
  }
  const [from, to] = window;
  const x = (step) => ((step - from) / (to - from)) * width;
  const ticks = niceTicks(from, to, Math.max(2, Math.min(6, Math.floor(width / 70))));
  return {
    x,
    place: (pixels) => from + (pixels / width) * (to - from),
    ticks: ticks.map((step) => ({ x: x(step), text: shortNumber(step) })),
  };
}

function upScale(lines, across, width, { byTime, log }) {
  const values = [];
  for (const { points, run } of lines) {
    for (const point of points) {
      const x = point.value === null ? -1 : across.x(placeOf(point, run, byTime));
      if (x >= -1 && x <= width + 1 && (!log || point.value > 0)) values.push(point.value);
    }
  }
  let [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  if (!values.length) [low, high] = log ? [0.1, 1] : [0, 1];
  const map = log ? Math.log10 : (value) => value;
  const edge = (map(high) - map(low)) * 0.05 || Math.abs(map(high)) * 0.1 || 1;
  const [bottom, top] = [map(low) - edge, map(high) + edge];
  const y = (value) => CHART.top + (1 - (map(value) - bottom) / (top - bottom)) * (CHART.height - CHART.top);
  return { y, ticks: log ? logTicks(low, high) : niceTicks(bottom, top, 4) };
}

// ---- drawing ------------------------------------------------------------------------------------

/** Draws `{name, lines, parts}` as `shown` says: {runs, axis, window, byTime, log}. */
export function drawChart(chart, content, shown) {
  const width = Math.max(60, chart.area.clientWidth - CHART.left - CHART.right);
  const across = acrossScale(shown, width);
  const log = shown.log && content.lines.some(({ points }) => points.some(({ value }) => value > 0));
  const up = upScale(content.lines, across, width, { ...shown, log });
  const strips = shown.runs.length <= STRIPS ? shown.runs : [];
  const height = CHART.height + strips.length * CHART.strip + CHART.tick;
  chart.frame = { ...content, ...shown, log, width, height, across, up, strips };
  chart.element.setAttribute("data-metric", content.name);
  chart.title.textContent = content.name;
  chart.key.replaceChildren(...keyOf(chart.frame));
  chart.area.setAttribute("aria-label", `${content.name}, ${plural(content.lines.length, "line")}; arrow keys read it`);
  chart.drawing.setAttribute("width", CHART.left + width + CHART.right);
  chart.drawing.setAttribute("height", height);
  chart.cursorPart = svg("g", {});
  const clip = svg("svg", { x: CHART.left, y: 0, width, height, class: "kse-chart-clip" });
  clip.append(...bands(chart.frame), ...grid(chart.frame), ...restartLines(chart.frame));
  clip.append(...lineNodes(chart.frame), ...life(chart.frame), chart.cursorPart);
  chart.drawing.replaceChildren(...axisTexts(chart.frame), clip);
  showCursor(chart, chart.cursor); // what someone is reading stays, also as new points come
}

/** A line's tone: its run's where several are shown, else one for each part of the metric. */
function toneOfLine({ runs, parts }, line) {
  if (runs.length > 1) return line.run.tone;
  return PART_TONES[parts.indexOf(line.name) % PART_TONES.length];
}

function keyOf(frame) {
  const { parts, runs } = frame;
  if (parts.length < 2) return [];
  return parts.slice(0, 8).map((name) => {
    const tone = runs.length > 1 ? "slate" : PART_TONES[parts.indexOf(name) % PART_TONES.length];
    const dash = runs.length > 1 && isValidation(name) ? " kse-line-dashed" : "";
    const sample = svg("path", { class: `kse-line kse-tone-${tone}${dash}`, d: "M0,6h18" });
    return html("span", { dir: "auto" }, svg("svg", { width: 18, height: 12, "aria-hidden": "true" }, sample), name);
  });
}

/** What was thrown away and trained again, behind everything. */
function bands({ runs, across, byTime, width }) {
  if (runs.length > 1) return [];
  const [run] = runs;
  if (run.model.curves.thrown.length > 2 * FEW_RESTARTS) return []; // a chart all in yellow says nothing
  return run.model.curves.thrown.flatMap(({ steps, times }) => {
    const ends = (byTime ? times.map((time) => placeOf({ time }, run, true)) : steps).map((place) => across.x(place));
    if (!(ends[1] > 0 && ends[0] < width)) return [];
    const box = { x: ends[0], y: 0, width: Math.max(1, ends[1] - ends[0]), height: CHART.height };
    return [svg("rect", { class: "kse-again", "data-role": "again", ...box })];
  });
}

function grid({ up, across, byTime, width }) {
  const level = up.ticks.map((value) => `M0,${up.y(value).toFixed(1)}h${width}`);
  const nodes = [svg("path", { class: "kse-tick", d: level.join("") })];
  if (!byTime) return nodes;
  for (const piece of across.scale.axis.pieces.filter(isFolded)) {
    const [x, end] = [across.x(piece.start), across.x(piece.end)];
    if (end > 0 && x < width)
      nodes.push(svg("rect", { class: "kse-folded", "data-role": "folded", x, y: 0, width: Math.max(1, end - x), height: CHART.height }));
  }
  return nodes;
}

function axisTexts({ up, across, width, height }) {
  const base = height - CHART.tick;
  const sides = up.ticks.map((value) => {
    const at = { class: "kse-tick-text", x: CHART.left - 6, y: up.y(value) + 4, "text-anchor": "end" };
    return svg("text", at, shortNumber(value));
  });
  const below = across.ticks.map(({ x, text }) => {
    const half = textWidth(text) / 2;
    const middle = CHART.left + Math.max(half - CHART.left + 2, Math.min(width + CHART.right - half, x));
    return svg("text", { class: "kse-tick-text", x: middle, y: height - 5, "text-anchor": "middle" }, text);
  });
  const strokes = across.ticks.map(({ x }) => `M${(CHART.left + x).toFixed(1)},${base}v4`).join("");
  return [...sides, ...below, svg("path", { class: "kse-tick", d: `M${CHART.left},${base}h${width}${strokes}` })];
}

function lineNodes(frame) {
  const rank = (line) => (line.thrown !== null ? 0 : line.source === "epochs" ? 2 : 1);
  const sorted = frame.lines.slice().sort((a, b) => rank(a) - rank(b));
  const lonely = new Set(frame.lines.filter((line) => rank(line) === 2).map((line) => line.run.name + line.name));
  return sorted.flatMap((line) => lineNode(frame, line, lonely));
}

function lineNode(frame, line, lonely) {
  const { runs, across, byTime } = frame;
  const within = line.source !== "epochs" && lonely.has(line.run.name + line.name);
  const dashed = runs.length > 1 && isValidation(line.name);
  const words = [`kse-line kse-tone-${toneOfLine(frame, line)}`];
  if (line.thrown !== null) words.push("kse-line-thrown");
  else if (within) words.push("kse-line-within");
  if (dashed) words.push("kse-line-dashed");
  const { path, alone, odd } = linePath(line, frame);
  const hooks = {
    "data-role": "line",
    "data-name": line.name,
    "data-run": line.run.name,
    "data-source": line.source,
    "data-thrown": line.thrown,
    "data-points": line.points.length,
  };
  const nodes = [svg("path", { class: words.join(" "), d: path, ...hooks })];
  const dots = alone.map(([x, y]) => `M${x - 2},${y}a2,2 0 1,0 4,0a2,2 0 1,0 -4,0`).join("");
  if (dots && !within) nodes.push(svg("path", { class: `kse-dots kse-tone-${toneOfLine(frame, line)}${line.thrown !== null ? " kse-line-thrown" : ""}`, d: dots }));
  for (const point of odd.slice(0, 50)) {
    const mark = symbol(["wedge", "red"], across.x(placeOf(point, line.run, byTime)), 7, 4, false);
    mark.setAttribute("data-role", "odd");
    mark.append(svg("title", {}, `${line.name} is ${point.odd} at step ${formatCount(point.step)}`));
    nodes.push(mark);
  }
  return nodes;
}

/** The path of a line, broken where a value is no number; points that would not be seen as a line; those that are none. */
function linePath(line, { across, up, byTime, log }) {
  const parts = [];
  const alone = [];
  const odd = [];
  let run = [];
  const close = () => {
    if (run.length > 1) parts.push(`M${run.map((at) => at.join(",")).join("L")}`);
    if (run.length && run.length < 12) alone.push(...run);
    run = [];
  };
  let part = null;
  for (const point of line.points) {
    if (point.part !== part) close();
    part = point.part;
    if (point.odd) odd.push(point);
    if (point.value === null || (log && point.value <= 0)) close();
    else run.push([across.x(placeOf(point, line.run, byTime)).toFixed(1) * 1, up.y(point.value).toFixed(1) * 1]);
  }
  close();
  return { path: parts.join(""), alone, odd };
}

// ---- the life of the runs -----------------------------------------------------------------------

function restartPlaces({ across, byTime, width }, run) {
  const places = [];
  for (const { how, ended, begun } of run.model.curves.restarts) {
    const sides = [...(how ? [["ended", ended]] : []), ["begun", begun]];
    for (const [side, at] of sides) {
      const place = placeOf(at, run, byTime);
      const x = place === null ? -1 : across.x(place);
      if (x >= -1 && x <= width + 1) places.push({ side, how, x, step: at.step });
    }
  }
  return places;
}

function restartLines(frame) {
  if (frame.runs.length > 1) return [];
  const places = restartPlaces(frame, frame.runs[0]);
  if (places.length > 2 * FEW_RESTARTS) return [];
  return places.map(({ side, x }) =>
    svg("path", { class: `kse-restart kse-restart-${side}`, d: `M${x.toFixed(1)},0V${CHART.height}` }),
  );
}

/** Beneath the chart, for each run: its checkpoints as strokes, its kills and resumes as signs. */
function life(frame) {
  return frame.strips.flatMap((run, index) => {
    const top = CHART.height + index * CHART.strip;
    const tone = frame.runs.length > 1 ? run.tone : "slate";
    const strokes = checkpointStrokes(frame, run, top);
    const nodes = [svg("path", { class: `kse-strokes kse-tone-${tone}`, d: strokes.join(""), "data-role": "chart-checkpoints", "data-count": strokes.length })];
    const places = restartPlaces(frame, run);
    if (places.length > 2 * FEW_RESTARTS) return nodes.concat(killStrokes(places, top));
    for (const { side, how, x } of apart(places)) {
      const style = side === "ended" ? ["cross", how === "signal" ? "orange" : "red"] : ["play", "green"];
      const node = symbol(style, x, top + CHART.strip / 2, 4);
      node.setAttribute("data-role", side === "ended" ? "chart-kill" : "chart-resume");
      nodes.push(node);
    }
  return nodes;
  });
}

/** Signs that would cover one another stand side by side, in their order. */
function apart(places) {
  const moved = places.slice().sort((a, b) => a.x - b.x).map((place) => ({ ...place }));
  moved.forEach((place, index) => {
    const before = moved[index - 1];
    if (before && place.x - before.x < SIGN) place.x = before.x + SIGN;
  });
  return moved;
}

/** Where signs would cover one another: each kill a stroke across the strip. */
function killStrokes(places, top) {
  const ended = places.filter(({ side }) => side === "ended");
  const path = ended.map(({ x }) => `M${x.toFixed(1)},${top}v${CHART.strip}`).join("");
  return svg("path", { class: "kse-strokes kse-strokes-ended", d: path, "data-role": "chart-kills", "data-count": ended.length });
}

function checkpointStrokes({ across, byTime, width }, run, top) {
  const found = new Set();
  for (const save of run.model.curves.saves) {
    const place = placeOf(save, run, byTime);
    const x = place === null ? -1 : across.x(place);
    if (x >= 0 && x <= width) found.add(Math.round(x / 1.5));
  }
  return Array.from(found, (bin) => `M${(bin * 1.5).toFixed(1)},${top + 3}v${CHART.strip - 5}`);
}

// ---- reading values -----------------------------------------------------------------------------

/** Shows what the lines say at a place (in steps or seconds), or nothing with null. */
export function showCursor(chart, place) {
  chart.cursor = place;
  chart.cursorPart.replaceChildren();
  if (place === null) return null;
  const { frame } = chart;
  const told = readings(frame, place);
  if (!told.length) return null;
  const nearest = told.reduce((a, b) => (Math.abs(b.place - place) < Math.abs(a.place - place) ? b : a));
  const x = frame.across.x(nearest.place);
  chart.cursorPart.append(svg("path", { class: "kse-cursor", d: `M${x.toFixed(1)},0V${CHART.height}` }));
  const near = told.filter((one) => Math.abs(frame.across.x(one.place) - x) < NEAR * 4);
  for (const { line, point, place: own } of near) {
    if (point.value === null || (frame.log && point.value <= 0)) continue;
    const at = { cx: frame.across.x(own), cy: frame.up.y(point.value), r: 3 };
    chart.cursorPart.append(svg("circle", { class: `kse-dots kse-tone-${toneOfLine(frame, line)}`, ...at }));
  }
  return { x: CHART.left + x, place: nearest.place, card: cursorCard(frame, near, nearest, x) };
}

function readings(frame, place) {
  return frame.lines
    .map((line) => ({ line, point: nearestPoint(line, place, frame.byTime) }))
    .filter(({ point }) => point)
    .map((one) => ({ ...one, place: placeOf(one.point, one.line.run, frame.byTime) }));
}

function cursorCard(frame, near, nearest, x) {
  const many = frame.runs.length > 1;
  const rows = near
    .sort((a, b) => (a.line.thrown === null ? 0 : 1) - (b.line.thrown === null ? 0 : 1))
    .slice(0, 14)
    .map(({ line, point }) => {
      const what = [many ? line.run.title : "", line.name].filter(Boolean).join(" · ");
      const how = line.thrown !== null ? ", thrown away" : line.source === "epochs" ? "" : ", within the epoch";
      const value = point.odd || shortExact(point.value);
      return ["value", `${what}${how}`, point.odd || point.value, `${value} at step ${formatCount(point.step)}`];
    });
  for (const run of frame.runs) {
    for (const { side, how, x: at, step } of restartPlaces(frame, run)) {
      if (Math.abs(at - x) >= NEAR || rows.length > 18) continue;
      const words = side === "ended" ? ENDING_WORDS[how] || how : "went on";
      rows.push([side, many ? `${run.title} · ${words}` : words, step, `${side === "ended" ? "at" : "from"} step ${formatCount(step)}`]);
    }
  }
  const title = frame.byTime
    ? `${formatDuration(Math.max(0, nearest.place))} since the start`
    : `Step ${formatCount(nearest.point.step)}`;
  return { title, about: frame.name, rows, hint: "" };
}

function shortExact(value) {
  return String(Number(value.toPrecision(7)));
}

/** The place under a pixel of the chart's area. */
export function placeAt(chart, clientX) {
  const { left } = chart.area.getBoundingClientRect();
  return chart.frame.across.place(clientX - left - CHART.left);
}

/** The next place at which a line has a point, to the right (1) or to the left (-1). */
export function nextPlace({ frame, cursor }, side) {
  const places = frame.lines.flatMap(({ points, run }) => points.map((point) => placeOf(point, run, frame.byTime)));
  const from = cursor === null ? (side > 0 ? -Infinity : Infinity) : cursor;
  const beyond = places.filter((place) => (place - from) * side > 1e-9);
  return beyond.length ? beyond.reduce((a, b) => ((b - a) * side < 0 ? b : a)) : null;
}
