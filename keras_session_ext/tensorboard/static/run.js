// The block of one selected run: its name and state, headline cards, timeline and details.
import { createPlot, setPlotModel } from "./plot.js";
import { listen } from "./input.js";
import { cutText, formatTime, plural, runTitle, textOf } from "./format.js";
import { button, html } from "./dom.js";
import { checkpointDetails } from "./details.js";
import { headlineCards, legend } from "./headline.js";
import { ownValue } from "./read.js";

const STATE_TONES = { running: "info", finished: "good", interrupted: "bad", failed: "bad", signal: "warn" };
const STATE_WORDS = { signal: "stopped by a signal" };

export function createBlock(name, actions) {
  const parts = {};
  for (const part of ["head", "notices", "summary", "legend", "details"])
    parts[part] = html("div", { class: `kse-run-${part}` });
  const plot = createPlot(actions);
  listen(plot);
  const element = html("section", {
    class: "kse-run",
    "data-role": "run",
    "data-run": cutText(name),
    "aria-label": `Run ${cutText(runTitle(name), 80)}`,
  });
  element.append(parts.head, parts.notices, parts.summary, plot.element, parts.legend, parts.details);
  const block = { name, element, plot, parts, model: null, error: null, opened: null };
  updateBlock(block, actions);
  return block;
}

/** Shows what the block holds now; without a model that is a waiting line or an error. */
export function updateBlock(block, { retry }) {
  const { model, parts, plot } = block;
  parts.head.replaceChildren(...runHead(block));
  parts.notices.replaceChildren(...notices(block, retry));
  plot.element.hidden = !model || !model.processes.length;
  if (!model) return;
  const hasFigures = Object.keys(model.headline).length > 0;
  parts.summary.replaceChildren(...(hasFigures ? [headlineCards(model.headline)] : []));
  parts.legend.replaceChildren(legend(model));
  setPlotModel(plot, model);
}

function runHead({ name, model }) {
  const title = html("h2", { dir: "auto" }, cutText(runTitle(name), 120));
  if (!model) return [title];
  const last = model.processes[model.processes.length - 1];
  const state =
    last &&
    html(
      "span",
      { class: `kse-chip kse-chip-${ownValue(STATE_TONES, last.ending) || "plain"}` },
      ownValue(STATE_WORDS, last.ending) || last.ending,
    );
  const directory =
    model.directory &&
    html("span", { class: "kse-quiet kse-directory", dir: "auto" }, textOf(model.directory));
  const asOf =
    model.generated && html("span", { class: "kse-quiet kse-as-of" }, `as of ${formatTime(model.generated)}`);
  return [title, state, directory, asOf].filter(Boolean);
}

function notices({ model, error }, retry) {
  if (!model)
    return [
      error
        ? errorLine(error, "This run could not be loaded", retry)
        : html("p", { class: "kse-quiet" }, "Loading…"),
    ];
  const { message, skipped, dropped, processes } = model;
  return [
    error && errorLine(error, "Older data is shown; the last reload failed", retry),
    message && html("p", { class: "kse-notice", "data-role": "message", dir: "auto" }, textOf(message)),
    !processes.length &&
      !message &&
      html("p", { class: "kse-quiet" }, "Nothing has been recorded in this run yet."),
    skipped > 0 && note("skipped", `${plural(skipped, "line")} of the journal could not be read.`),
    dropped > 0 &&
      note("dropped", `${plural(dropped, "older event")} ${dropped === 1 ? "is" : "are"} summarised.`),
  ].filter(Boolean);
}

function note(role, text) {
  return html("p", { class: "kse-note", "data-role": role }, text);
}

export function errorLine(error, what, retry) {
  const why = textOf(error && error.message, "no reason was given");
  const again = button("Retry", { "data-role": "retry" }, retry);
  return html(
    "p",
    { class: "kse-error", role: "alert", "data-role": "error" },
    html("span", { dir: "auto" }, `${what}: ${why}`),
    again,
  );
}

/** Opens the details of a checkpoint, or closes them with null; an open, unchanged panel stays. */
export function openDetails(block, id, onClose) {
  const raw = id === null || !block.model ? null : ownValue(block.model.checkpoints, id);
  const key = id === null ? null : JSON.stringify([id, raw]);
  if (key === block.opened) return null;
  block.opened = key;
  const panel = id === null ? null : checkpointDetails(id, raw, onClose);
  block.parts.details.replaceChildren(...(panel ? [panel] : []));
  return panel;
}
