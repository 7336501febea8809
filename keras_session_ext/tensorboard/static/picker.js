// Which runs are shown, and what is said while there is none.
import { checkbox, html } from "./dom.js";
import { cutText, formatShare, numberOf, runTitle } from "./format.js";
import { recordOf } from "./read.js";

const MANY_RUNS = 8; // more get a filter

/** `onChoose(name, on)` is called when a run is ticked or unticked. */
export function createPicker(onChoose) {
  const element = html("nav", { class: "kse-picker", "aria-label": "Runs" });
  return { element, onChoose, names: null, notes: [] };
}

/** Shows the runs; while they are the same ones only their figures change, and the focus stays. */
export function setRuns(picker, runs, chosen) {
  const names = JSON.stringify(runs.map(({ name }) => name));
  if (names !== picker.names) {
    picker.names = names;
    picker.notes = runs.map(() => html("small", { title: "goodput" }));
    picker.element.replaceChildren(...pickerNodes(picker, runs, chosen));
  }
  runs.forEach(({ headline }, index) => {
    const goodput = numberOf(recordOf(headline).goodput);
    picker.notes[index].textContent = goodput === null ? "" : formatShare(goodput, 0);
  });
}

function pickerNodes(picker, runs, chosen) {
  const choices = runs.map(({ name }, index) => runChoice(picker, name, index, chosen.has(name)));
  const list = html("ul", {}, ...choices);
  return [html("h2", {}, "Runs"), ...(runs.length > MANY_RUNS ? [runFilter(runs, choices)] : []), list];
}

function runChoice({ notes, onChoose }, name, index, isChosen) {
  const state = { "data-role": "run-choice", "data-run": cutText(name), checked: isChosen && "" };
  const label = checkbox(cutText(runTitle(name), 80), state, (on) => onChoose(name, on));
  label.title = cutText(name);
  label.append(notes[index]);
  return html("li", {}, label);
}

function runFilter(runs, choices) {
  const about = { placeholder: "Filter runs", "aria-label": "Filter runs" };
  const filter = html("input", { type: "search", class: "kse-input", ...about });
  filter.addEventListener("input", () => {
    const text = filter.value.toLowerCase();
    runs.forEach(({ name }, index) => (choices[index].hidden = !name.toLowerCase().includes(text)));
  });
  return filter;
}

const EXAMPLE = `model.fit(x, y, epochs=20, callbacks=[
    kse.SessionCheckpoint("runs/a"),
    kse.SessionLogger("<logdir>"),
])`;

/** How to get data, for someone who opened the tab without any. */
export function emptyState() {
  const title = html("h2", {}, "No session has been recorded yet");
  const how = html(
    "p",
    {},
    "Add the logger to the callbacks of the training, with the directory that is shown here, and reload:",
  );
  return html("div", { class: "kse-empty", "data-role": "empty" }, title, how, html("pre", {}, EXAMPLE));
}
