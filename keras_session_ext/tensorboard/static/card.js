// The hover card: every figure of a span, mark, gap or process, with the exact value behind it.
import { cutText, exactText, figureLabel, formatCount, formatDuration, formatTime, fullFigure, plural, textOf, wordsOf } from "./format.js";
import { html } from "./dom.js";
import { isCheckpoint, ownValue, recordOf } from "./read.js";
import { totalCount } from "./layout.js";

const LISTED_MARKS = 6;
const LANE_WORDS = { replay: "skipped batches" };

export function laneWord(lane) {
  return ownValue(LANE_WORDS, lane) || wordsOf(lane);
}

// A row is [key, label, raw value, text]; `key` and the raw value go into the data attributes.

export function figureRows(figures) {
  return Object.keys(figures).map((key) => figureRow(key, figures[key]));
}

function figureRow(key, raw, label = figureLabel(key)) {
  return [key, label, raw, fullFigure(key, raw)];
}

function timeRow(key, label, raw) {
  return [key, label, raw, formatTime(raw)];
}

function durationRow(start, end) {
  return ["duration", "duration", end - start, formatDuration(end - start)];
}

function present(rows) {
  return rows.filter((row) => row[2] !== null && row[2] !== undefined && row[2] !== "");
}

export function processName(process) {
  return `process ${process.number} (${process.place})`;
}

export function spansCard(process, lane, spans) {
  const [first] = spans;
  if (totalCount(spans) > 1) return manySpansCard(process, lane, spans);
  const ended = first.open ? [["end", "end", "open", "still open"]] : [timeRow("end", "end", first.raw.end)];
  const times = [timeRow("start", "start", first.raw.start), ...ended, durationRow(first.start, first.end)];
  const title = first.label;
  return {
    title,
    about: `${laneWord(lane)} · ${processName(process)}`,
    rows: [...times, ...figureRows(first.figures)],
  };
}

function manySpansCard(process, lane, spans) {
  const end = spans.reduce((latest, span) => Math.max(latest, span.end), spans[0].start);
  const rows = [
    timeRow("start", "from", spans[0].start),
    timeRow("end", "to", end),
    durationRow(spans[0].start, end),
  ];
  const title = `${plural(totalCount(spans), `${laneWord(lane)} span`)}`;
  const hint = spans.length > 1 ? "Zoom in to tell them apart." : "Told together, for there are very many.";
  return { title, about: processName(process), rows, hint };
}

export function marksCard(process, marks) {
  if (totalCount(marks) === 1) return markCard(process, marks[0]);
  const listed = marks.slice(-LISTED_MARKS).reverse();
  const rows = listed.map((mark) => [
    "mark",
    wordsOf(mark.kind),
    mark.label,
    `${mark.label}, ${formatTime(mark.time)}`,
  ]);
  const more = marks.length > LISTED_MARKS ? `The newest ${LISTED_MARKS} are listed. ` : "";
  return {
    title: `${formatCount(totalCount(marks))} ${marks.every(isCheckpoint) ? "checkpoints" : "marks"}`,
    about: processName(process),
    rows,
    hint: `${more}Press Enter or click to zoom in.`,
  };
}

function markCard(process, mark) {
  const { raw } = mark;
  const rows = present([timeRow("time", "time", raw.time), figureRow("reason", raw.reason)]).concat(
    figureRows(mark.figures),
  );
  if (mark.deleted) rows.push(["deleted", "deleted", "true", "yes, by the keep policy"]);
  const hint = mark.checkpoint === null ? "" : "Press Enter or click for its details.";
  return { title: mark.label, about: `${wordsOf(mark.kind)} · ${processName(process)}`, rows, hint };
}

export function gapCard({ raw, start, end }) {
  const figures = [
    figureRow("lost_steps", raw.lost_steps, "steps lost"),
    figureRow("lost_seconds", raw.lost_seconds, "work lost"),
  ];
  const rows = [
    timeRow("start", "start", raw.start),
    timeRow("end", "end", raw.end),
    durationRow(start, end),
  ];
  return { title: "Nothing ran", about: textOf(raw.text, ""), rows: rows.concat(present(figures)) };
}

export function processCard(process) {
  const { raw } = process;
  const times = ["start", "end", "last_sign"].map((key) => timeRow(key, key.replace("_", " "), raw[key]));
  const versions = recordOf(raw.versions);
  const rows = present([...times, figureRow("ending", raw.ending), figureRow("id", raw.id)]);
  const used = Object.keys(versions).map((name) => [
    name,
    cutText(name, 80),
    versions[name],
    textOf(versions[name]),
  ]);
  return { title: `Process ${process.number}`, about: process.text, rows: rows.concat(used) };
}

// ---- showing it ---------------------------------------------------------------------------------

/** A list of rows as `<dl>`; the exact value is in `data-value`. */
export function definitionList(rows) {
  const list = html("dl", { class: "kse-figures" });
  for (const [key, label, raw, text] of rows) {
    const exact = cutText(exactText(raw), 1000);
    const value = html("dd", { "data-key": cutText(key), "data-value": exact, dir: "auto" }, text);
    list.append(html("div", {}, html("dt", { dir: "auto" }, label), value));
  }
  return list;
}

export function createCard(id) {
  return html("div", { class: "kse-card", id, role: "tooltip", "data-role": "card", hidden: "" });
}

/** Shows the card beside a point of the viewport, on whichever side there is room. */
export function showCard(card, { title, about, rows, hint }, x, y) {
  const heading = html("div", { class: "kse-card-title", dir: "auto" }, title);
  const subtitle = about && html("div", { class: "kse-card-about", dir: "auto" }, about);
  const foot = hint && html("div", { class: "kse-card-hint" }, hint);
  card.replaceChildren(...[heading, subtitle, definitionList(rows), foot].filter(Boolean));
  card.hidden = false;
  moveCard(card, x, y);
}

export function moveCard(card, x, y) {
  const { width, height } = card.getBoundingClientRect();
  const left = x + 16 + width < window.innerWidth ? x + 16 : x - 16 - width;
  const top = y + 16 + height < window.innerHeight ? y + 16 : y - 16 - height;
  card.style.left = `${Math.max(4, left)}px`;
  card.style.top = `${Math.max(4, top)}px`;
}

export function hideCard(card) {
  card.hidden = true;
}
