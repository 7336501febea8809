// Draws one run's timeline. A frame is what one drawing needs: the model, the scale, the rows in
// view, and `items`, to which everything one can point at or step to is added.
import { axisTicks, densityColumns, isFolded, mergeMarks, mergeSpans, totalCount, visibleGroups } from "./layout.js";
import { formatClock, formatCount, formatDay, formatDayOfYear, formatDuration, formatZone, numberOf, plural, wordsOf } from "./format.js";
import { gapCard, laneWord, marksCard, processCard, processName, spansCard } from "./card.js";
import { html, incidentStyle, reasonStyle, svg, symbol, textWidth } from "./dom.js";
import { LANES, isCheckpoint } from "./read.js";

const BEYOND = 8; // pixels drawn outside the view, so that borders of cut boxes are not seen
const MARK_RADIUS = 5.5;
const MOST_COUNTED = 4; // marks in one place that are told as a number; more are a density
const ENDING_TONES = {
  interrupted: "red",
  failed: "red",
  signal: "orange",
  finished: "green",
  running: "blue",
};
const ENDING_SIGNS = { interrupted: "✕", failed: "✕", signal: "◼", finished: "✓", running: "▸" };
export const AXIS_HEIGHT = 56;
export const OVERVIEW_HEIGHT = 30;

function inView(scale, x) {
  return Math.max(-BEYOND, Math.min(scale.width + BEYOND, x));
}

function addItem(frame, node, item) {
  node.setAttribute("data-item", frame.items.length);
  frame.items.push({ ...item, node });
  return node;
}

// ---- axis: the labels of gaps on top, then ticks ------------------------------------------------

export function drawAxis(frame) {
  const { scale } = frame;
  const nodes = axisTicks(scale, frame.relative).map((tick, index, ticks) =>
    drawTick(frame, tick, ticks[index - 1]),
  );
  return [...drawGapLabels(frame), ...nodes, ...drawBreaks(scale)];
}

function drawTick({ relative }, { x, time, step }, previous) {
  const clock = relative
    ? `+${formatDuration(Math.max(0, Number(time.toFixed(3))))}`
    : formatClock(time, step);
  const line = svg("line", { class: "kse-tick", x1: x, x2: x, y1: 22, y2: AXIS_HEIGHT });
  const day = svg("text", { class: "kse-tick-day", x: x + 4, y: 33 }, relative ? "" : newDay(time, previous));
  const text = svg(
    "text",
    { class: "kse-tick-text", x: x + 4, y: 49 },
    step < 86400 || relative ? clock : "",
  );
  return svg("g", {}, line, day, text);
}

/** The date where it changes, and the year where that changes. */
function newDay(time, previous) {
  if (!previous) return formatDay(time);
  if (formatDay(time) === formatDay(previous.time)) return "";
  const sameYear = new Date(time * 1000).getFullYear() === new Date(previous.time * 1000).getFullYear();
  return sameYear ? formatDayOfYear(time) : formatDay(time);
}

/** Where the axis is folded two slanted strokes cut it, as in any broken axis. */
function drawBreaks(scale) {
  const folded = scale.axis.pieces.filter(isFolded);
  const visible = folded.map((piece) => scale.x((piece.start + piece.end) / 2 + scale.shift));
  return visible
    .filter((x) => x > 0 && x < scale.width)
    .map((x) => {
      const strokes = `M${x - 6},${AXIS_HEIGHT}l5,-12M${x + 1},${AXIS_HEIGHT}l5,-12`;
      return svg("path", { class: "kse-break", "data-role": "break", d: strokes });
    });
}

function visibleGaps({ model, scale }) {
  const gaps = model.gaps.map((gap) => ({ gap, x: scale.x(gap.start), end: scale.x(gap.end) }));
  return gaps.filter(({ x, end }) => end > 0 && x < scale.width);
}

/** How long nothing ran, above its own gap and nothing else; the process that came next says it, too. */
function drawGapLabels(frame) {
  return visibleGaps(frame).map(({ gap, x, end }) => {
    const [left, right] = [Math.max(0, x), Math.min(frame.scale.width, end)];
    const text = formatDuration(gap.end - gap.start);
    const at = { class: "kse-gap-text", x: (left + right) / 2, y: 14, "text-anchor": "middle", "data-role": "gap-text" };
    return right - left > 30 && textWidth(text, 600) + 6 < right - left ? svg("text", at, text) : null;
  });
}

// ---- gaps: bands behind the lanes (of HTML: an SVG pattern is lost under a <base href>) ----------

export function drawGaps(frame) {
  const bands = [];
  for (const { gap, x, end } of visibleGaps(frame)) {
    const last = bands[bands.length - 1];
    if (last && end - last.end < 2) Object.assign(last, { end, count: last.count + 1 });
    else bands.push({ gap, x, end, count: 1 });
  }
  return bands.map((band) => drawGap(frame, band));
}

function drawGap(frame, { gap, x, end, count }) {
  const left = inView(frame.scale, x);
  const label = `Nothing ran. ${gapCard(gap).about}`;
  const width = Math.max(1, inView(frame.scale, end) - left);
  const style = width < 5 ? "kse-gap kse-gap-thin" : "kse-gap"; // hatching needs room
  const node = html("div", {
    class: style,
    role: "img",
    "aria-label": label,
    "data-role": "gap",
    "data-count": count,
  });
  node.style.left = `${left}px`;
  node.style.width = `${width}px`;
  const card = () => ({
    ...gapCard(gap),
    hint: count > 1 ? `The first of ${plural(count, "gap")} here.` : "",
  });
  return addItem(frame, node, {
    key: `gap ${gap.start}`,
    row: 0,
    x: (x + end) / 2,
    range: [gap.start, gap.end],
    card,
  });
}

// ---- lanes --------------------------------------------------------------------------------------

export function drawGroups(frame, top, bottom) {
  const groups = visibleGroups(frame.rows.groups, top, bottom);
  return groups.map((group) => drawGroup(frame, group));
}

function drawGroup(frame, group) {
  const { process, top, height } = group;
  const bottom = top + height - 0.5;
  const line = svg("line", { class: "kse-separator", x1: 0, x2: frame.scale.width, y1: bottom, y2: bottom });
  const label = `${processName(process)}, ${process.ending}`;
  const node = svg(
    "g",
    { role: "group", "aria-label": label, "data-role": "process", "data-process": process.index },
    line,
  );
  if (process.start === null) return node;
  node.append(...drawLifetime(frame, group));
  for (const row of group.rows) {
    if (row.kind === "lane") node.append(...drawLane(frame, process, group, row));
    else node.append(...drawMarks(frame, process, row));
  }
  return node;
}

/** The time in which the process lived; how it ended is written beside its name, where nothing else is. */
function drawLifetime(frame, { process, rows, top, height }) {
  const x = inView(frame.scale, frame.scale.x(process.start));
  const end = inView(frame.scale, frame.scale.x(process.end));
  const tone = `kse-tone-${ENDING_TONES[process.ending] || "slate"}`;
  const middle = rows[0].top + rows[0].height / 2;
  const band = {
    class: "kse-lifetime",
    x,
    y: top + 1,
    width: Math.max(1, end - x),
    height: height - 2,
    rx: 3,
  };
  const nodes = [
    svg("rect", band),
    svg("line", { class: "kse-lifeline", x1: x, x2: end, y1: middle, y2: middle }),
  ];
  const cap = { class: `kse-cap ${tone}`, x: end - 1, y: top + 1, width: 2, height: height - 2 };
  if (end < frame.scale.width + BEYOND) nodes.push(svg("rect", cap));
  return nodes;
}

function drawLane(frame, process, group, row) {
  const { name, spans } = row.lane;
  const boxes = mergeSpans(spans, frame.scale);
  return [].concat(...boxes.map((box) => drawSpan(frame, process, row, name, box)));
}

function drawSpan(frame, process, row, lane, { x, end, spans }) {
  const left = inView(frame.scale, x);
  const right = inView(frame.scale, end);
  const width = Math.max(1, right - left - (end - x > 3 ? 1 : 0));
  const known = LANES.includes(lane) ? lane : "other";
  const box = { x: left, y: row.top + 1, width, height: row.height - 3, rx: width > 6 ? 2 : 0 };
  const label = spans.length > 1 ? `${formatCount(totalCount(spans))} × ${laneWord(lane)}` : spans[0].label;
  const hooks = {
    "data-role": "span",
    "data-lane": lane,
    "data-count": totalCount(spans),
    role: "img",
    "aria-label": label,
  };
  const open = spans[spans.length - 1].open ? " kse-open" : "";
  const node = svg("rect", { class: `kse-span kse-lane-${known}${open}`, ...box, ...hooks });
  const range = [spans[0].start, spans[spans.length - 1].end];
  const key = `span ${process.index} ${lane} ${spans[0].start}`;
  addItem(frame, node, {
    key,
    row: row.number,
    x: (left + right) / 2,
    range,
    card: () => spansCard(process, lane, spans),
  });
  return [node, drawSpanText(frame, box, label, known)].filter(Boolean);
}

/** The same words at every width, or none; of an epoch its number, for the lane has its name. */
function drawSpanText(frame, box, label, lane) {
  const left = Math.max(0, box.x);
  const room = Math.min(frame.scale.width, box.x + box.width) - left;
  const text = lane === "epoch" ? label.replace(/epoch /g, "") : label;
  if (room < 16 || textWidth(text) + 9 > room) return null;
  return svg("text", { class: `kse-span-text kse-text-${lane}`, x: left + 5, y: box.y + 11 }, text);
}

// ---- marks --------------------------------------------------------------------------------------

function drawMarks(frame, process, row) {
  const marks = row.kind === "marks" ? process.checkpoints : process.incidents;
  const clusters = mergeMarks(marks, frame.scale);
  const dense = clusters.filter(isDense).map(({ marks: some }) => densityColumns(some, frame.scale));
  const most = [].concat(...dense).reduce((largest, { count }) => Math.max(largest, count), 1);
  return clusters.map((cluster) => drawCluster(frame, process, row, cluster, most));
}

function isDense({ marks }) {
  return totalCount(marks) > MOST_COUNTED;
}

function drawCluster(frame, process, row, cluster, most) {
  const { x, marks } = cluster;
  const [first] = marks;
  const y = row.top + row.height / 2;
  const count = totalCount(marks);
  const label = count > 1 ? plural(count, wordsOf(first.kind)) : `${wordsOf(first.kind)} ${first.label}`;
  const hooks = {
    "data-role": "mark",
    "data-kind": first.kind,
    "data-count": count,
    role: "button",
    "aria-label": label,
  };
  const node = svg("g", {
    class: "kse-mark",
    ...hooks,
    "data-checkpoint": marks.length === 1 && first.checkpoint,
  });
  if (isDense(cluster)) node.append(...drawDensity(frame, row, marks, most));
  else node.append(...(marks.length > 1 ? drawBadge(x, y, marks) : drawMark(frame, x, y, first)));
  const range = [first.time, marks[marks.length - 1].time];
  const key = `mark ${process.index} ${row.kind} ${first.time} ${first.label}`;
  return addItem(frame, node, {
    key,
    row: row.number,
    x,
    range,
    marks,
    card: () => marksCard(process, marks),
  });
}

/** More than can be told apart: columns as high as there are many, in the colour of those that are most. */
function drawDensity(frame, row, marks, most) {
  const columns = densityColumns(marks, frame.scale);
  const [bottom, tallest] = [row.top + row.height - 7, row.height - 14];
  const nodes = columns.map(({ x, count, marks: some }) => {
    const height = Math.max(3, tallest * (count / most));
    const [, tone] = markStyle(frame.model, some[some.length >> 1]);
    const box = { x, y: bottom - height, width: 2.4, height };
    return svg("rect", { class: `kse-density kse-tone-${tone}`, "data-role": "density", ...box });
  });
  const [left, right] = [columns[0].x, columns[columns.length - 1].x + 3];
  const reach = { x: left, y: row.top + 3, width: Math.max(8, right - left), height: row.height - 6 };
  return [svg("rect", { class: "kse-reach", ...reach }), ...nodes];
}

export function markStyle(model, mark) {
  return isCheckpoint(mark) ? reasonStyle(model.reasons, mark.reasonName) : incidentStyle(mark.kind);
}

function drawMark({ model, selected }, x, y, mark) {
  const reach = svg("rect", { class: "kse-reach", x: x - 8, y: y - 10, width: 16, height: 20 });
  const ring = svg("circle", { class: "kse-ring", cx: x, cy: y, r: 9.5 });
  const isSelected = selected !== null && mark.checkpoint === selected;
  return [
    reach,
    ...(isSelected ? [ring] : []),
    symbol(markStyle(model, mark), x, y, MARK_RADIUS, mark.deleted),
  ];
}

function drawBadge(x, y, marks) {
  const text = formatCount(totalCount(marks));
  const width = Math.max(18, textWidth(text) + 10);
  const tone = isCheckpoint(marks[0]) ? "" : " kse-badge-bad";
  const box = { x: x - width / 2, y: y - 8, width, height: 16, rx: 8 };
  return [
    svg("rect", { class: `kse-badge${tone}`, ...box }),
    svg("text", { class: "kse-badge-text", x, y: y + 4, "text-anchor": "middle" }, text),
  ];
}

// ---- the names of processes and lanes -----------------------------------------------------------

export function drawNames(frame, top, bottom) {
  return visibleGroups(frame.rows.groups, top, bottom).map((group) => drawName(frame, group));
}

function drawName(frame, { process, rows, top, height }) {
  const title = html(
    "span",
    { class: "kse-name-title" },
    html("b", {}, `#${process.number}`),
    ` ${process.place}`,
  );
  const named = addItem(frame, title, { key: `name ${process.index}`, row: -1, x: 0, card: () => processCard(process) });
  const node = html("div", { class: "kse-name" }, named, endingLine(process), idleLine(frame.model, process));
  node.style.top = `${top}px`;
  node.style.height = `${height}px`;
  for (const row of rows.slice(1)) {
    const word = row.kind === "lane" ? laneWord(row.lane.name) : "incidents";
    const label = html("span", { class: "kse-name-lane", dir: "auto" }, word);
    label.style.top = `${row.top - top}px`;
    node.append(label);
  }
  return node;
}

/** How a process ended, in few words; its card has the rest. */
function endingLine({ ending, text }) {
  const cause = text.split(":")[0];
  const words = { finished: "finished", running: "running", signal: `ended by ${cause}` }[ending] || cause || ending;
  const tone = `kse-name-line kse-ending-${ENDING_TONES[ending] || "slate"}`;
  return html("span", { class: tone, dir: "auto", "data-role": "ending" }, `${ENDING_SIGNS[ending] || "?"} ${words}`);
}

/** How long nothing ran before a process, and what it had to train again. */
function idleLine(model, process) {
  const gap = model.gaps.find(({ end }) => end === process.start);
  if (!gap) return null;
  const lost = numberOf(gap.raw.lost_steps);
  const again = lost ? `, ${plural(lost, "step")} again` : "";
  return html("span", { class: "kse-name-line kse-quiet", "data-role": "idle" }, `after ${formatDuration(gap.end - gap.start)}${again}`);
}

export function zoneText(frame) {
  return frame.relative
    ? "time since the run's start"
    : `local time, ${formatZone(frame.model.generated || Date.now() / 1000)}`;
}

// ---- overview -----------------------------------------------------------------------------------

/** The whole run in one strip: processes in the lane's colour, checkpoints as strokes below. */
export function drawOverview({ model, scale }) {
  const known = model.processes.filter((process) => process.start !== null);
  const lives = mergeSpans(known, scale).map(({ x, end }) =>
    svg("rect", { class: "kse-overview-life", x, y: 5, width: Math.max(1.5, end - x), height: 12 }),
  );
  const marks = [].concat(...known.map((process) => process.checkpoints));
  const strokes = mergeMarks(marks, scale, 2, 2).map(({ x }) => `M${x.toFixed(1)},20v5`);
  return [...lives, svg("path", { class: "kse-overview-marks", d: strokes.join("") })];
}
