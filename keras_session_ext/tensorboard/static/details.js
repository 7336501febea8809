// The panel of one checkpoint: where the run was, what the file holds, and how to restore it.
import { cutText, exactText, formatBytes, formatCount, formatTime, numberOf, shortFigure, textOf } from "./format.js";
import { definitionList, figureRows } from "./card.js";
import { button, html } from "./dom.js";
import { recordOf } from "./read.js";
import { reasonsOf } from "./headline.js";

const LISTED_TENSORS = 12;
const SAVE_FIGURES = ["reason", "size_bytes", "stall_seconds", "durable_seconds"];
const COPIED_MILLISECONDS = 2000;

export function checkpointDetails(id, raw, onClose) {
  const checkpoint = recordOf(raw);
  const close = button("Close", { "aria-label": "Close the details", "data-role": "close" }, onClose);
  const title = html(
    "h3",
    { dir: "auto" },
    html("span", { class: "kse-quiet" }, "Checkpoint "),
    cutText(id, 120),
  );
  const head = html("div", { class: "kse-details-head" }, title, ...chips(checkpoint), close);
  const body = html("div", { class: "kse-details-body" }, ...sections(checkpoint));
  const about = {
    class: "kse-details",
    role: "region",
    "aria-label": "Checkpoint details",
    "data-role": "details",
    "data-checkpoint": cutText(id),
    tabindex: "-1",
  };
  const panel = html("section", about, head, whyLine(checkpoint), body, restoreLine(checkpoint.restore));
  panel.addEventListener("keydown", (event) => event.key === "Escape" && onClose());
  return panel;
}

function chip(text, tone, key, value) {
  return html("span", { class: `kse-chip kse-chip-${tone}`, "data-key": key, "data-value": value }, text);
}

function chips({ exact, deleted }) {
  const known = typeof exact === "boolean";
  const word = known ? (exact ? "exact" : "not exact") : "exact: not known";
  const guarantee = chip(word, known ? (exact ? "good" : "bad") : "plain", "exact", exactText(exact));
  return deleted ? [guarantee, chip("deleted", "plain", "deleted", "true")] : [guarantee];
}

/** Why it is not exact, and why it is gone, as sentences. */
function whyLine({ reasons, deleted }) {
  const why = reasonsOf(reasons).map((reason) =>
    html("p", { "data-key": "reasons", dir: "auto" }, `Because ${reason}.`),
  );
  const { time, reason } = recordOf(deleted);
  const when = time === undefined ? "" : ` on ${formatTime(time)}`;
  const gone =
    deleted &&
    html(
      "p",
      { "data-key": "deleted_reason", dir: "auto" },
      `Deleted${when}: ${textOf(reason, "no reason was recorded")}.`,
    );
  return why.length || gone ? html("div", { class: "kse-why" }, ...why, gone) : null;
}

function sections(checkpoint) {
  const saved = SAVE_FIGURES.filter((key) => checkpoint[key] !== undefined && checkpoint[key] !== null);
  const figures = Object.fromEntries(saved.map((key) => [key, checkpoint[key]]));
  return [
    html(
      "div",
      {},
      ...figureSection("Progress", recordOf(checkpoint.progress)),
      ...figureSection("Metrics", recordOf(checkpoint.metrics)),
    ),
    html("div", {}, ...figureSection("Saving", figures), ...kindsSection(recordOf(checkpoint.kinds))),
    html("div", {}, ...tensorsSection(checkpoint.largest)),
  ];
}

function figureSection(title, figures) {
  if (!Object.keys(figures).length) return [];
  return [html("h4", {}, title), definitionList(figureRows(figures))];
}

function kindsSection(kinds) {
  const names = Object.keys(kinds).sort((a, b) => (numberOf(kinds[b]) || 0) - (numberOf(kinds[a]) || 0));
  if (!names.length) return [];
  const largest = Math.max(1, ...names.map((name) => numberOf(kinds[name]) || 0));
  const bars = names.map((name) => kindBar(name, kinds[name], largest));
  return [html("h4", {}, "Bytes per kind of state"), html("ul", { class: "kse-kinds" }, ...bars)];
}

function kindBar(name, bytes, largest) {
  const bar = html("i", {});
  bar.style.width = `${(Math.max(0, numberOf(bytes) || 0) / largest) * 100}%`;
  const exact = {
    "data-key": cutText(name),
    "data-value": cutText(exactText(bytes)),
    title: `${formatCount(bytes)} bytes`,
  };
  return html(
    "li",
    {},
    html("span", { dir: "auto" }, cutText(name, 60)),
    html("b", {}, bar),
    html("span", exact, formatBytes(bytes)),
  );
}

function tensorsSection(raw) {
  const tensors = (Array.isArray(raw) ? raw : []).slice(0, LISTED_TENSORS).map(recordOf);
  if (!tensors.length) return [];
  const head = ["Name", "Type", "Shape", "Size"].map((title) => html("th", { scope: "col" }, title));
  const rows = tensors.map(tensorRow);
  const table = html(
    "table",
    { class: "kse-tensors" },
    html("thead", {}, html("tr", {}, ...head)),
    html("tbody", {}, ...rows),
  );
  return [html("h4", {}, "Largest tensors"), table];
}

function tensorRow({ name, dtype, shape, nbytes }) {
  const size = Array.isArray(shape)
    ? shape.map((length) => textOf(length)).join(" × ") || "scalar"
    : textOf(shape);
  const cells = [textOf(name), textOf(dtype), cutText(size, 80)].map((text) =>
    html("td", { dir: "auto", title: text }, text),
  );
  const exact = {
    "data-key": "nbytes",
    "data-value": cutText(exactText(nbytes)),
    title: `${formatCount(nbytes)} bytes`,
  };
  return html("tr", {}, ...cells, html("td", exact, shortFigure("nbytes", nbytes)));
}

// ---- the line that restores it ------------------------------------------------------------------

function restoreLine(restore) {
  if (typeof restore !== "string") return null;
  return copyLine(restore, "Restore exactly this checkpoint");
}

function copyLine(text, label) {
  const code = html("code", { "data-role": "restore", tabindex: "0" }, cutText(text, 2000));
  const status = html("span", { class: "kse-quiet", role: "status" });
  const copy = button("Copy", { "data-role": "copy", "aria-label": `Copy: ${label}` }, () =>
    copyText(text, code, status),
  );
  return html("div", { class: "kse-copy" }, html("span", { class: "kse-quiet" }, label), code, copy, status);
}

async function copyText(text, code, status) {
  try {
    await navigator.clipboard.writeText(text);
    status.textContent = "Copied";
  } catch (error) {
    // Without HTTPS, or inside a frame without the permission, the browser leaves it to the user.
    window.getSelection().selectAllChildren(code);
    status.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => (status.textContent = ""), COPIED_MILLISECONDS);
}
