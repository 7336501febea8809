// The headline figures of a run as cards, and the legend of its timeline.
import { cutText, exactText, formatBytes, formatCount, formatDuration, formatShare, numberOf, plural, textOf, wordsOf } from "./format.js";
import { LANES, allMarks, isCheckpoint } from "./read.js";
import { html, svg, symbol } from "./dom.js";
import { laneWord } from "./card.js";
import { markStyle } from "./draw.js";

/** A span that carries the exact value of a headline figure. */
function figure(headline, key, text) {
  const exact = cutText(exactText(headline[key]), 1000);
  return html("span", { "data-key": key, "data-value": exact }, text);
}

function optional(headline, key, format) {
  return numberOf(headline[key]) === null ? null : figure(headline, key, format(headline[key]));
}

/** What a share is a share of. */
function ofFit(headline, before = []) {
  const trained = optional(headline, "training_seconds", formatDuration);
  return trained ? [...before, "of ", trained, " inside fit"] : before;
}

function savedOf(headline) {
  const kept = optional(headline, "kept", (v) => `${formatCount(v)} kept`);
  const written = optional(headline, "size_bytes", (v) => `${formatBytes(v)} written`);
  return kept && written ? [kept, ", ", written] : [kept, written];
}

const CARDS = [
  ["goodput", "Goodput", (h) => formatShare(h.goodput), (h) => ofFit(h)],
  [
    "lost_seconds",
    "Time lost",
    (h) => formatDuration(h.lost_seconds),
    (h) => [optional(h, "lost_steps", (v) => `${plural(v, "step")} trained again`)],
  ],
  [
    "resumes",
    "Resumes",
    (h) => formatCount(h.resumes),
    (h) => [optional(h, "failures", (v) => plural(v, "failure"))],
  ],
  ["exact", "Exact", exactWord, exactNotes],
  [
    "checkpoints",
    "Checkpoints saved",
    (h) => formatCount(h.checkpoints),
    savedOf,
  ],
  [
    "stall_share",
    "Spent saving",
    (h) => formatShare(h.stall_share, 2),
    (h) => ofFit(h, [optional(h, "stall_seconds", formatDuration), " "]),
  ],
  ["steps_per_second", "Steps per second", (h) => formatSpeed(h.steps_per_second), () => ["in the last stretch that was seen"]],
];

function formatSpeed(raw) {
  const speed = numberOf(raw);
  return speed === null ? textOf(raw) : formatCount(Number(speed.toPrecision(4)));
}

function exactWord({ exact }) {
  if (exact === true) return "Yes";
  return exact === false ? "No" : textOf(exact, "Not known");
}

export function reasonsOf(raw) {
  return Array.isArray(raw) ? raw.map((reason) => textOf(reason)) : [];
}

function exactNotes(headline) {
  const reasons = reasonsOf(headline.exact_reasons);
  if (reasons.length)
    return [html("span", { "data-key": "exact_reasons", dir: "auto" }, cutText(reasons.join("; ")))];
  const witnessed = numberOf(headline.witnessed);
  if (headline.exact === true && witnessed)
    return ["witnessed by ", figure(headline, "witnessed", `${plural(witnessed, "step")} trained again`)];
  return headline.exact === true ? ["bit-identical resumes"] : [];
}

export function headlineCards(headline) {
  const cards = CARDS.map(([key, title, main, below]) => {
    const value = html(
      "div",
      { class: "kse-headline-value", "data-value": cutText(exactText(headline[key]), 1000) },
      main(headline),
    );
    const hooks = { "data-role": `headline-${key}`, role: "group", "aria-label": title };
    const note = html("div", { class: "kse-headline-note" }, ...below(headline));
    note.title = note.textContent;
    return html(
      "div",
      { class: `kse-headline${toneOf(key, headline)}`, ...hooks },
      html("div", { class: "kse-headline-title" }, title),
      value,
      note,
    );
  });
  return html("div", { class: "kse-headlines" }, ...cards);
}

function toneOf(key, headline) {
  if (key !== "exact" || typeof headline.exact !== "boolean") return "";
  return headline.exact ? " kse-good" : " kse-bad";
}

// ---- legend -------------------------------------------------------------------------------------

function legendEntry(picture, text) {
  const icon = svg("svg", { width: 16, height: 16, "aria-hidden": "true" }, picture);
  return html("li", { dir: "auto" }, icon, text);
}

function laneEntry(lane) {
  const known = LANES.includes(lane) ? lane : "other";
  return legendEntry(
    svg("rect", { class: `kse-span kse-lane-${known}`, x: 1, y: 3, width: 14, height: 10, rx: 2 }),
    laneWord(lane),
  );
}

function openEntry() {
  const box = { class: "kse-span kse-lane-fit kse-open", x: 1, y: 3, width: 14, height: 10, rx: 2 };
  return legendEntry(svg("rect", box), "dashed: never ended");
}

function markEntry(model, mark) {
  const word = isCheckpoint(mark) ? `saved by ${mark.reasonName}` : wordsOf(mark.kind);
  return legendEntry(symbol(markStyle(model, mark), 8, 8, 5.5), word);
}

/** What occurs in this run, and nothing else. */
export function legend(model) {
  const lanes = new Set(
    [].concat(...model.processes.map((process) => process.lanes.map((lane) => lane.name))),
  );
  const firsts = new Map();
  const marks = allMarks(model);
  for (const mark of marks) {
    const key = isCheckpoint(mark) ? `checkpoint ${mark.reasonName}` : mark.kind;
    if (!firsts.has(key)) firsts.set(key, mark);
  }
  const entries = Array.from(lanes)
    .map(laneEntry)
    .concat(Array.from(firsts.values()).map((mark) => markEntry(model, mark)));
  if (model.processes.some(({ spans }) => spans.some((span) => span.open))) entries.push(openEntry());
  if (marks.some((mark) => mark.deleted))
    entries.push(legendEntry(symbol(["circle", "blue"], 8, 8, 5, true), "hollow: since deleted"));
  const idle =
    model.gaps.length && html("li", {}, html("i", { class: "kse-gap kse-gap-sample" }), "nothing ran");
  return html("ul", { class: "kse-legend", "aria-label": "Legend" }, ...entries, idle);
}
