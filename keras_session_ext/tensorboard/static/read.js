// A timeline as it came, read into one the rest can rely on: every list is a list, every time is a
// number or null, every span and mark belongs to a process. The journal may be torn or hostile.
import { exactText, numberOf, textOf, timeOf, wordsOf } from "./format.js";

export const LANES = ["fit", "epoch", "evaluate", "predict", "restore", "replay"];

function listOf(raw) {
  return Array.isArray(raw) ? raw.filter((entry) => entry && typeof entry === "object") : [];
}

export function recordOf(raw) {
  return raw && typeof raw === "object" && !Array.isArray(raw) ? raw : {};
}

/** What an own key of a record holds; a key such as "constructor" finds nothing inherited. */
export function ownValue(record, key) {
  return Object.prototype.hasOwnProperty.call(record, key) ? record[key] : undefined;
}

export function readRuns(raw) {
  return listOf(raw).filter((run) => typeof run.name === "string");
}

export function readTimeline(raw) {
  const timeline = recordOf(raw);
  const model = {
    directory: timeline.directory,
    generated: timeOf(timeline.generated),
    message: timeline.message,
    skipped: numberOf(timeline.skipped) || 0,
    dropped: numberOf(timeline.dropped) || 0,
    headline: recordOf(timeline.headline),
    checkpoints: recordOf(timeline.checkpoints),
    processes: listOf(timeline.processes).map(readProcess),
  };
  for (const span of listOf(timeline.spans)) addSpan(model, span);
  for (const mark of listOf(timeline.marks)) addMark(model, mark);
  model.processes.forEach((process) => finishProcess(model, process));
  model.gaps = listOf(timeline.gaps)
    .map(readGap)
    .filter((gap) => gap.start !== null);
  model.events = listOf(timeline.events).map((event) => readEvent(model, event));
  model.reasons = distinct(
    allMarks(model)
      .filter(isCheckpoint)
      .map((mark) => mark.reasonName),
  );
  return model;
}

function distinct(values) {
  return Array.from(new Set(values));
}

export function allMarks(model) {
  return [].concat(...model.processes.map((process) => process.checkpoints.concat(process.incidents)));
}

export function isCheckpoint(mark) {
  return mark.kind === "checkpoint";
}

function readProcess(raw, index) {
  return {
    raw,
    index,
    number: textOf(raw.number, String(index + 1)),
    place: [raw.pid, raw.host].map((part) => textOf(part, "?")).join("@"),
    start: timeOf(raw.start),
    end: timeOf(raw.end),
    ending: textOf(raw.ending, "unknown"),
    text: textOf(raw.text, ""),
    spans: [],
    checkpoints: [],
    incidents: [],
  };
}

function unknownProcess(index) {
  return { ...readProcess({}, index), number: "?", place: "process unknown" };
}

/** The process something belongs to; what names none is gathered in a process of its own. */
function ownerOf(model, raw) {
  const known = model.processes[numberOf(raw.process)];
  if (known) return known;
  if (!model.orphans) model.processes.push((model.orphans = unknownProcess(model.processes.length)));
  return model.orphans;
}

function addSpan(model, raw) {
  const start = timeOf(raw.start);
  if (start === null) return;
  const label = textOf(raw.label, textOf(raw.lane));
  const open = raw.open === true || timeOf(raw.end) === null;
  const span = { raw, start, end: timeOf(raw.end), open, label, figures: recordOf(raw.figures), count: countOf(raw) };
  ownerOf(model, raw).spans.push({ ...span, lane: textOf(raw.lane, "other") });
}

function addMark(model, raw) {
  const time = timeOf(raw.time);
  if (time === null) return;
  const owner = ownerOf(model, raw);
  const kind = textOf(raw.kind, "unknown");
  const label = textOf(raw.label, wordsOf(kind));
  const mark = { raw, time, kind, label, owner, figures: recordOf(raw.figures) };
  mark.count = countOf(raw);
  mark.reasonName = reasonName(raw.reason);
  mark.checkpoint = typeof raw.checkpoint === "string" ? raw.checkpoint : null;
  mark.deleted = Boolean(recordOf(ownValue(model.checkpoints, mark.checkpoint)).deleted);
  (isCheckpoint(mark) ? owner.checkpoints : owner.incidents).push(mark);
}

/** How many a mark or span stands for, where the story was too long to tell each. */
function countOf(raw) {
  return Math.max(1, Math.round(numberOf(raw.count) || 1));
}

/** "EveryEpochs(1)" without its arguments, since marks are told apart by policy. */
function reasonName(reason) {
  return textOf(exactText(reason).split("(")[0].trim().slice(0, 40), "no reason");
}

function finishProcess(model, process) {
  const marks = process.checkpoints.concat(process.incidents);
  const signs = marks.map((mark) => mark.time);
  for (const span of process.spans) signs.push(span.start, span.end === null ? span.start : span.end);
  const running = process.ending === "running";
  for (const time of [timeOf(process.raw.last_sign), running ? model.generated : null]) {
    if (time !== null) signs.push(time);
  }
  if (process.start === null) process.start = signs.length ? least(signs) : null;
  if (process.end === null) process.end = signs.length ? -least(signs.map((t) => -t)) : process.start;
  process.end = Math.max(process.start, process.end);
  for (const span of process.spans) closeSpan(process, span);
  for (const list of [process.checkpoints, process.incidents]) list.sort((a, b) => a.time - b.time);
  process.spans.sort((a, b) => a.start - b.start);
  process.lanes = lanesOf(process.spans);
}

function least(times) {
  return times.reduce((smallest, time) => Math.min(smallest, time), Infinity);
}

function closeSpan(process, span) {
  const end = span.end === null ? process.end : span.end;
  span.end = Math.max(span.start, end);
}

/** The lanes in use as `{name, spans}`: the known ones in their order, then what is new to us. */
function lanesOf(spans) {
  const lanes = new Map(LANES.map((name) => [name, []]));
  for (const span of spans) {
    if (!lanes.has(span.lane)) lanes.set(span.lane, []);
    lanes.get(span.lane).push(span);
  }
  const used = Array.from(lanes).filter(([, own]) => own.length);
  return used.map(([name, own]) => ({ name, spans: own }));
}

function readGap(raw) {
  const start = timeOf(raw.start);
  const end = timeOf(raw.end);
  return { raw, start, end: Math.max(start, end) };
}

function readEvent(model, raw) {
  const process = model.processes[numberOf(raw.process)];
  return {
    time: timeOf(raw.time),
    seq: numberOf(raw.seq),
    kind: wordsOf(raw.kind),
    number: process ? process.number : textOf(raw.process),
    process: process ? process.index : null,
    figures: recordOf(raw.figures),
  };
}

/** The times in which something ran, as `[start, end]` pairs: what the axis is made of. */
export function busyIntervals(model, shift) {
  const known = model.processes.filter((process) => process.start !== null);
  return known.map((process) => [process.start - shift, process.end - shift]);
}

export function firstTime(model) {
  const starts = busyIntervals(model, 0).map(([start]) => start);
  return starts.length ? least(starts) : 0;
}

export function isRunning(model) {
  return model.processes.some((process) => process.ending === "running");
}
