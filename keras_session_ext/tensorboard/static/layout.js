// Where things stand: pure functions from times to pixels. Nothing here touches the DOM.
//
// Three coordinates are in use. *Time* is seconds since the epoch (or since the run's start when
// runs are aligned). *Fold* is time with the long idle stretches shortened. *x* is pixels.

const FOLD_SHARE = 0.04; // what a folded gap may take of the time in which something ran
const ALL_FOLDS_SHARE = 0.5; // what all folded gaps may take together
const EDGE_SHARE = 0.02; // air on both sides of the whole view, so that no mark is cut
const SMALLEST_WINDOW = 0.02; // seconds
const TICK_PIXELS = 84;
const TICK_STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
  3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000, 315360000,
];

export function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}

// ---- the time axis ------------------------------------------------------------------------------

/** Sorted, disjoint intervals that cover the same times as the given `[start, end]` pairs. */
export function unionIntervals(intervals) {
  const union = [];
  for (const [start, end] of intervals.slice().sort((a, b) => a[0] - b[0])) {
    const last = union[union.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else union.push([start, end]);
  }
  return union;
}

function idleIntervals(busy) {
  return busy.slice(1).map(([start], index) => [busy[index][1], start]);
}

function totalLength(intervals) {
  return intervals.reduce((sum, [start, end]) => sum + end - start, 0);
}

/** Whether nothing ran for longer than something ran: then a plain axis would be mostly empty. */
export function gapsDominate(intervals) {
  const busy = unionIntervals(intervals);
  return totalLength(idleIntervals(busy)) > totalLength(busy);
}

/** The axis of the given busy intervals, or null without any; `fold` shortens long idle times. */
export function makeAxis(intervals, fold) {
  const busy = unionIntervals(intervals);
  if (!busy.length) return null;
  const idle = idleIntervals(busy);
  const active = totalLength(busy) || 1;
  const short = active * Math.min(FOLD_SHARE, ALL_FOLDS_SHARE / Math.max(1, idle.length));
  const axis = { pieces: [], length: 0 };
  busy.forEach(([start, end], index) => {
    addPiece(axis, start, end, end - start);
    if (idle[index]) addIdlePiece(axis, idle[index], fold ? short : Infinity);
  });
  axis.length = Math.max(axis.length, 1);
  return axis;
}

function addIdlePiece(axis, [start, end], longest) {
  const length = end - start;
  addPiece(axis, start, end, length > 1.5 * longest ? longest : length);
}

function addPiece(axis, start, end, length) {
  const slope = end > start ? length / (end - start) : 1;
  axis.pieces.push({ start, end, from: axis.length, to: axis.length + length, slope });
  axis.length += length;
}

function pieceAt(pieces, field, value) {
  let low = 0;
  let high = pieces.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pieces[middle][field] <= value) low = middle;
    else high = middle - 1;
  }
  return pieces[low];
}

export function toFold(axis, time) {
  const piece = pieceAt(axis.pieces, "start", time);
  return piece.from + (time - piece.start) * piece.slope;
}

export function toTime(axis, fold) {
  const piece = pieceAt(axis.pieces, "from", fold);
  return piece.start + (fold - piece.from) / piece.slope;
}

export function isFolded(piece) {
  return piece.slope < 0.999;
}

// ---- the visible window, as a pair of folds -----------------------------------------------------

export function fullWindow(axis) {
  const edge = axis.length * EDGE_SHARE;
  return [-edge, axis.length + edge];
}

export function boundWindow(axis, [from, to]) {
  const [low, high] = fullWindow(axis);
  const size = clamp(to - from, Math.min(SMALLEST_WINDOW, high - low), high - low);
  const start = clamp((from + to - size) / 2, low, high - size);
  return [start, start + size];
}

export function panWindow([from, to], share) {
  const shift = (to - from) * share;
  return [from + shift, to + shift];
}

/** The window made `factor` times as long, with the point at `share` of it standing still. */
export function zoomWindow([from, to], factor, share) {
  const fixed = from + (to - from) * share;
  return [fixed - (fixed - from) * factor, fixed + (to - fixed) * factor];
}

/** Maps times to x and back; `shift` is the run's start where runs are aligned, otherwise 0. */
export function makeScale(axis, [from, to], width, shift) {
  const ratio = width / (to - from);
  return {
    axis,
    width,
    ratio,
    shift,
    x: (time) => (toFold(axis, time - shift) - from) * ratio,
    time: (x) => toTime(axis, from + x / ratio) + shift,
  };
}

// ---- ticks --------------------------------------------------------------------------------------

export function tickStep(pixelsPerSecond) {
  const wide = TICK_STEPS.find((step) => step * pixelsPerSecond >= TICK_PIXELS);
  return wide || TICK_STEPS[TICK_STEPS.length - 1];
}

/** Round times within [start, end): of the wall clock (daylight saving included), or of a stopwatch. */
export function tickTimes(start, end, step, relative) {
  const times = [];
  for (let k = Math.floor((relative ? start : toWall(start)) / step) - 1; ; k += 1) {
    const time = relative ? k * step : fromWall(k * step);
    if (time >= end) return times;
    if (time >= start) times.push(time);
  }
}

/** Seconds that the wall clock counts from its own 1 January 1970. */
function toWall(time) {
  return time - new Date(time * 1000).getTimezoneOffset() * 60;
}

function fromWall(seconds) {
  return new Date(1970, 0, 1, 0, 0, 0, Math.round(seconds * 1000)).getTime() / 1000;
}

/** Ticks that do not touch: `[{x, time, step}]`, with one at the start of what follows a fold. */
export function axisTicks(scale, relative, label = relative ? 84 : 60, end = label) {
  const step = tickStep(scale.ratio);
  const room = label; // pixels; `end` is what the last one needs beside it
  const view = [scale.time(0) - scale.shift, scale.time(scale.width) - scale.shift];
  const between = stretches(scale.axis.pieces);
  const ticks = [];
  between.forEach(([start, end], index) => {
    const limit = index + 1 < between.length ? end - room / scale.ratio : end; // clear of the break
    const times = tickTimes(Math.max(start, view[0]), Math.min(limit, view[1]), step, relative);
    if (start >= view[0] && start < view[1]) ticks.push({ time: start, step, edge: true });
    for (const time of times) ticks.push({ time, step });
  });
  const placed = ticks.map((tick) => ({ ...tick, x: scale.x(tick.time + scale.shift) }));
  return spaced(placed, scale.width, room, end);
}

/** The stretches between folds, as `[start, end]`: within one, time runs at one speed. */
function stretches(pieces) {
  const found = [];
  let current = null;
  for (const piece of pieces) {
    if (isFolded(piece)) current = null;
    else if (current) current[1] = piece.end;
    else found.push((current = [piece.start, piece.end]));
  }
  return found;
}

/** Keeps the ticks with room for a label; where a round one and an edge collide the edge stays. */
function spaced(ticks, width, room, end) {
  const kept = [];
  for (const tick of ticks) {
    const last = kept[kept.length - 1];
    if (tick.x > width - end) break;
    if (last && tick.x - last.x < room + 14) {
      if (!tick.edge || last.edge) continue;
      kept.pop();
    }
    kept.push(tick);
  }
  return kept;
}

// ---- level of detail ----------------------------------------------------------------------------

/** Visible spans as boxes `{x, width, spans}`; neighbours narrower than `narrow` share one box. */
export function mergeSpans(spans, scale, narrow = 1.5) {
  const boxes = [];
  for (const span of spans) {
    const x = scale.x(span.start);
    const end = scale.x(span.end);
    if (end < 0 || x > scale.width) continue;
    const last = boxes[boxes.length - 1];
    const small = end - x < narrow;
    if (small && last && last.small && x - last.end < narrow) extendBox(last, span, end);
    else boxes.push({ x, end, small, spans: [span] });
  }
  return boxes;
}

function extendBox(box, span, end) {
  box.spans.push(span);
  box.end = Math.max(box.end, end);
}

/** Visible marks as clusters `{x, marks}`: closer than `near` merge; a merged one needs `room`. */
export function mergeMarks(marks, scale, near = 8, room = 30) {
  const clusters = [];
  for (const mark of marks) {
    const x = scale.x(mark.time);
    if (x < -near || x > scale.width + near) continue;
    const last = clusters[clusters.length - 1];
    if (last && x - last.first < (last.marks.length > 1 ? room : near)) extendCluster(last, mark, x);
    else clusters.push({ first: x, x, marks: [mark] });
  }
  return clusters;
}

function extendCluster(cluster, mark, x) {
  cluster.marks.push(mark);
  cluster.x = (cluster.first + x) / 2;
}

/** How many things a list of marks or spans stands for. */
export function totalCount(items) {
  return items.reduce((sum, { count }) => sum + count, 0);
}

/** Marks too close to be told apart as columns `{x, count, marks}` of `wide` pixels, from left to right. */
export function densityColumns(marks, scale, wide = 3) {
  const columns = new Map();
  for (const mark of marks) {
    const bin = Math.floor(scale.x(mark.time) / wide);
    if (!columns.has(bin)) columns.set(bin, { x: bin * wide, count: 0, marks: [] });
    const column = columns.get(bin);
    column.count += mark.count;
    column.marks.push(mark);
  }
  return Array.from(columns.values()).sort((a, b) => a.x - b.x);
}

// ---- rows ---------------------------------------------------------------------------------------

const ROW = { marks: 38, incidents: 18, lane: 17 }; // beside the marks stand a process's name and how it ended
const IDLE_LINE = 14; // and what went before it
const GROUP_SPACE = 10;

/** Every process as a group of rows with their places: `{groups, height}`. */
export function layoutGroups(processes, gaps) {
  const behindGap = new Set(gaps.map(({ end }) => end));
  const groups = [];
  let top = 0;
  let number = 1; // row 0 holds the gaps
  for (const process of processes) {
    const rows = processRows(process, behindGap.has(process.start)).map((row) => ({ ...row, number: number++ }));
    let bottom = top + GROUP_SPACE / 2;
    for (const row of rows) {
      row.top = bottom;
      bottom += row.height;
    }
    groups.push({ process, rows, top, height: bottom + GROUP_SPACE / 2 - top });
    top = bottom + GROUP_SPACE / 2;
  }
  return { groups, height: top };
}

function processRows(process, isBehindGap) {
  const rows = [{ kind: "marks", height: ROW.marks + (isBehindGap ? IDLE_LINE : 0) }];
  if (process.incidents.length) rows.push({ kind: "incidents", height: ROW.incidents });
  for (const lane of process.lanes) rows.push({ kind: "lane", lane, height: ROW.lane });
  return rows;
}

export function visibleGroups(groups, top, bottom) {
  return groups.filter((group) => group.top < bottom && group.top + group.height > top);
}

// ---- moving the focus ---------------------------------------------------------------------------

function nearestTo(items, x) {
  const distance = (item) => Math.abs(item.x - x);
  return items.reduce((best, item) => (best && distance(best) <= distance(item) ? best : item), null);
}

/** The item that an arrow key leads to from `current`, among items with `row` and `x`, or null. */
export function neighbour(items, current, key) {
  const side = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const row = items.filter((item) => item.row === current.row);
    return row[row.indexOf(current) + side] || null;
  }
  const beyond = items.filter((item) => (item.row - current.row) * side > 0);
  const next = nearestTo(
    beyond.map((item) => ({ x: item.row, row: item.row })),
    current.row,
  );
  return (
    next &&
    nearestTo(
      beyond.filter((item) => item.row === next.row),
      current.x,
    )
  );
}
