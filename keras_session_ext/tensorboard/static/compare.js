// What differs between runs: settings of their scripts, versions, and figures.
import { cutText, exactText, formatCount, shortFigure, textOf } from "./format.js";
import { distinctLines, lastAndBest } from "./curve_data.js";
import { html } from "./dom.js";
import { ownValue, recordOf } from "./read.js";

const FIGURES = [
  ["step", "steps"],
  ["training_seconds", "time inside fit"],
  ["wall_seconds", "wall time"],
  ["goodput", "goodput"],
  ["lost_steps", "steps lost"],
  ["resumes", "resumes"],
  ["failures", "failures"],
  ["checkpoints", "checkpoints saved"],
  ["stall_share", "spent saving"],
  ["exact", "exact"],
];
const LISTED = 200;

/** A table of what differs; what is the same in all of them is counted, and shown when it is asked for. */
export function differences(runs) {
  const groups = [
    ["Settings", recordRows(runs.map(({ model }) => model.settings))],
    ["Results", resultRows(runs)],
    ["Figures", FIGURES.map(([key, label]) => row(label, runs.map(({ model }) => model.headline[key]), key))],
    ["Versions", recordRows(runs.map(({ model }) => versionsOf(model)))],
  ];
  const differ = groups.map(([title, rows]) => [title, rows.filter(isDifferent)]);
  const same = groups.flatMap(([, rows]) => rows.filter((one) => !isDifferent(one) && isKnown(one)));
  const head = [html("th", { scope: "col" }, ""), ...runs.map(runColumn)];
  const body = differ.filter(([, rows]) => rows.length).flatMap(([title, rows]) => groupNodes(title, rows, runs.length));
  const table = html("table", { class: "kse-differences" }, html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...body));
  const scroller = html("div", { class: "kse-differences-scroller", tabindex: "0" }, table);
  const parts = [html("h3", {}, "What differs"), scroller, sameNote(same)];
  return html("div", { class: "kse-differences-part", "data-role": "differences" }, ...parts);
}

function row(label, values, key = label) {
  return { label, key, values };
}

function isDifferent({ values }) {
  return values.some((value) => exactText(value) !== exactText(values[0]));
}

function isKnown({ values }) {
  return values.some((value) => value !== undefined && value !== null && value !== "");
}

function resultRows(runs) {
  return distinctLines(runs).flatMap((name) => {
    const found = runs.map(({ model }) => lastAndBest(model, name));
    const part = (key) => found.map((one) => (one ? one[key] : null));
    const best = found.some((one) => one && one.best !== null) ? [row(`${name}, best`, part("best"), "metric")] : [];
    return [row(`${name}, last`, part("last"), "metric"), ...best];
  });
}

function recordRows(records) {
  const rank = (name) => (/^[A-Z]/.test(name) ? 1 : 0); // what callbacks say of themselves comes last
  const names = Array.from(new Set(records.flatMap((record) => Object.keys(record))))
    .sort()
    .sort((a, b) => rank(a) - rank(b));
  return names.map((name) => row(name, records.map((record) => ownValue(record, name)), name));
}

/** Of the process that began last. */
function versionsOf(model) {
  const known = model.processes.filter((process) => process.raw.versions);
  return known.length ? recordOf(known[known.length - 1].raw.versions) : {};
}

function runColumn({ title, tone }) {
  const swatch = html("i", { class: `kse-swatch kse-tone-${tone}` });
  return html("th", { scope: "col", dir: "auto" }, swatch, cutText(title, 60));
}

function groupNodes(title, rows, count) {
  const head = html("tr", { class: "kse-differences-group" }, html("th", { colspan: count + 1, scope: "colgroup" }, title));
  const nodes = rows.slice(0, LISTED).map(({ label, key, values }) => {
    const cells = values.map((value) => html("td", { dir: "auto", title: cutText(exactText(value), 500), "data-value": cutText(exactText(value), 500) }, valueText(key, value)));
    return html("tr", { "data-role": "difference", "data-key": cutText(label, 120) }, html("th", { scope: "row", dir: "auto" }, cutText(label, 120)), ...cells);
  });
  return [head, ...nodes];
}

function valueText(key, value) {
  if (value === undefined || value === null || value === "") return "–";
  if (key === "metric") return typeof value === "number" ? String(Number(value.toPrecision(6))) : textOf(value);
  return cutText(FIGURES.some(([name]) => name === key) ? shortFigure(key, value) : settingText(value), 120);
}

/** A setting as people write it: a float32 of 0.001 is 0.0010000000474974513 otherwise. */
function settingText(value) {
  const text = textOf(value);
  return /^-?\d+\.\d{8,}(e[-+]?\d+)?$/.test(text) ? String(Number(Number(text).toPrecision(6))) : text;
}

function sameNote(same) {
  if (!same.length) return null;
  const list = html("ul", {}, ...same.slice(0, LISTED).map(({ label, key, values }) => html("li", { dir: "auto" }, `${cutText(label, 120)}: ${valueText(key, values[0])}`)));
  const words = same.length === 1 ? "1 more is the same" : `${formatCount(same.length)} more are the same`;
  const runs = same[0].values.length === 2 ? "both runs" : `all ${formatCount(same[0].values.length)} runs`;
  return html("details", { class: "kse-same" }, html("summary", {}, `${words} in ${runs}`), list);
}
