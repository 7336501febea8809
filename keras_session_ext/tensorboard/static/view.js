// The whole view: which runs are shown, the window of time they share, and reloading.
import { boundWindow, fullWindow, gapsDominate, makeAxis, toFold, toTime, zoomWindow } from "./layout.js";
import { button, checkbox, html } from "./dom.js";
import { busyIntervals, firstTime, isRunning, ownValue, readRuns, readTimeline, recordOf } from "./read.js";
import { createBlock, errorLine, openDetails, updateBlock } from "./run.js";
import { createEvents, setEvents } from "./events.js";
import { createPicker, emptyState, setRuns } from "./picker.js";
import { createCard, hideCard } from "./card.js";
import { RUN_TONES, createCurves, drawCurves, setCurves } from "./curves.js";
import { readCurves } from "./curve_data.js";
import { runTitle } from "./format.js";
import { drawPlot, followPlot } from "./plot.js";

const CENTRE_SHARE = 0.2; // of the whole, when something is centred that was fully in view
const BUTTON_ZOOM = 1.6;
const HINT = [
  "Drag to pan. Ctrl + wheel zooms, as do + and −. Shift + drag zooms to a range;",
  "double click to a span, or back to the whole. Tab and arrow keys step through marks, Enter opens one.",
].join(" ");

/**
 * Shows a source in an element. `source` is {runs(), timeline(name)}, both returning promises;
 * options: {reloadSeconds} to look for news while a run is running.
 */
export function mount(root, source, options = {}) {
  const view = createView(root, source);
  root.classList.add("kse");
  root.append(...view.parts);
  followSystemTheme(view);
  new ResizeObserver(() => requestDraw(view)).observe(view.main);
  if (options.reloadSeconds) setInterval(() => reloadIfRunning(view), options.reloadSeconds * 1000);
  reload(view);
  return { reload: () => reload(view), setTheme: (theme) => setTheme(view, theme) };
}

/** A source of data that is part of the page: the JSON in its element "session-data". */
export function embeddedSource(page) {
  const data = recordOf(JSON.parse(page.getElementById("session-data").textContent));
  return {
    runs: async () => data.runs,
    timeline: async (name) => ownValue(recordOf(data.timelines), name),
  };
}

function createView(root, source) {
  const view = {
    root,
    source,
    runs: [],
    chosen: null,
    blocks: new Map(),
    turn: 0,
    error: null,
    loaded: false,
    axis: null,
    window: null, // null is the whole, also as it grows
    fold: null, // null lets the data decide
    aligned: false,
    pin: null,
    selection: null,
    themed: false,
  };
  view.card = createCard("kse-card");
  view.curves = createCurves(view.card);
  view.events = createEvents((event) => pickEvent(view, event));
  view.picker = createPicker((name, on) => chooseRun(view, name, on));
  view.status = html("div", { class: "kse-status" });
  view.main = html("main", { class: "kse-main" });
  view.blocksPart = html("div", { class: "kse-blocks" });
  view.main.append(toolbar(view), view.status, view.blocksPart, view.curves.element, view.events.element);
  view.parts = [html("div", { class: "kse-page" }, view.picker.element, view.main), view.card];
  return view;
}

function toolbar(view) {
  view.foldBox = checkbox("Collapse gaps", { "data-role": "collapse" }, (on) =>
    setOption(view, { fold: on }),
  );
  view.alignBox = checkbox("Align at start", { "data-role": "align" }, (on) =>
    setOption(view, { aligned: on, window: null }),
  );
  const zoom = (factor) => setWindow(view, zoomWindow(currentWindow(view), factor, 0.5));
  const zooms = html(
    "span",
    { class: "kse-zooms" },
    button("−", { "aria-label": "Zoom out", "data-role": "zoom-out" }, () => view.axis && zoom(BUTTON_ZOOM)),
    button(
      "+",
      { "aria-label": "Zoom in", "data-role": "zoom-in" },
      () => view.axis && zoom(1 / BUTTON_ZOOM),
    ),
    button("Whole run", { "aria-label": "Show the whole run", "data-role": "reset" }, () =>
      setWindow(view, null),
    ),
  );
  const hint = html("span", { class: "kse-hint", id: "kse-hint" }, HINT);
  view.toolbar = html("div", { class: "kse-toolbar" }, zooms, view.foldBox, view.alignBox, hint);
  view.toolbar.hidden = view.events.element.hidden = true;
  return view.toolbar;
}

// ---- theme --------------------------------------------------------------------------------------

function followSystemTheme(view) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => view.themed || view.root.setAttribute("data-theme", dark.matches ? "dark" : "light");
  dark.addEventListener("change", apply);
  apply();
}

/** Someone who knows better than the system which theme fits: TensorBoard. */
function setTheme(view, theme) {
  view.themed = true;
  view.root.setAttribute("data-theme", theme);
}

// ---- loading ------------------------------------------------------------------------------------

/** Fetches everything again; zoom, selection, filters and scroll positions stay as they are. */
async function reload(view) {
  const turn = (view.turn += 1);
  try {
    const runs = readRuns(await view.source.runs());
    if (turn !== view.turn) return;
    Object.assign(view, { runs, error: null });
    if (view.chosen === null && runs.length) view.chosen = new Set([runs[0].name]);
    showRuns(view);
    if (!shownBlocks(view).length) showData(view);
    await Promise.all(shownBlocks(view).map((block) => loadBlock(view, block)));
  } catch (error) {
    if (turn !== view.turn) return;
    view.error = error;
  }
  view.loaded = true;
  showStatus(view);
}

function reloadIfRunning(view) {
  const runs = shownBlocks(view).filter(({ model }) => model && isRunning(model));
  if (runs.length && !document.hidden) reload(view);
}

async function loadBlock(view, block) {
  const turn = (block.turn = (block.turn || 0) + 1);
  const result = { error: null };
  try {
    const raw = recordOf(await view.source.timeline(block.name));
    const more = { curves: readCurves(raw.curves), settings: recordOf(raw.settings) };
    result.model = { ...readTimeline(raw), ...more };
  } catch (error) {
    result.error = error;
  }
  if (turn !== block.turn) return;
  Object.assign(block, result);
  updateBlock(block, block.actions);
  showData(view);
}

// ---- which runs ---------------------------------------------------------------------------------

function shownBlocks(view) {
  return view.runs.filter(({ name }) => view.chosen.has(name)).map(({ name }) => blockOf(view, name));
}

function blockOf(view, name) {
  if (!view.blocks.has(name)) {
    const actions = blockActions(view, name);
    view.blocks.set(name, Object.assign(createBlock(name, actions), { actions }));
  }
  return view.blocks.get(name);
}

function blockActions(view, name) {
  return {
    card: view.card,
    hintId: "kse-hint",
    setWindow: (wanted) => setWindow(view, wanted),
    open: (mark) => select(view, mark && { run: name, id: mark.checkpoint }),
    reveal: (time, then) => reveal(view, blockOf(view, name), time, then),
    retry: () => loadBlock(view, blockOf(view, name)),
  };
}

function showRuns(view) {
  const names = view.runs.map(({ name }) => name);
  view.root.classList.toggle("kse-one-run", names.length < 2);
  view.root.classList.toggle("kse-no-run", names.length === 0);
  setRuns(view.picker, view.runs, view.chosen || new Set());
  const elements = shownBlocks(view).map((block) => block.element);
  if (
    elements.some((element, index) => view.blocksPart.children[index] !== element) ||
    elements.length !== view.blocksPart.children.length
  ) {
    view.blocksPart.replaceChildren(...elements);
  }
}

function chooseRun(view, name, on) {
  view.chosen[on ? "add" : "delete"](name);
  showRuns(view);
  showStatus(view);
  showData(view);
  if (on) loadBlock(view, blockOf(view, name));
}

// ---- showing ------------------------------------------------------------------------------------

function showStatus(view) {
  const retry = () => reload(view);
  const nodes = [];
  const failed = view.runs.length
    ? "Older data is shown; the last reload failed"
    : "The runs could not be loaded";
  if (view.error) nodes.push(errorLine(view.error, failed, retry));
  else if (view.loaded && !view.runs.length) nodes.push(emptyState());
  else if (view.loaded && !shownBlocks(view).length)
    nodes.push(html("p", { class: "kse-quiet" }, "Choose a run to see its life."));
  view.status.replaceChildren(...nodes);
}

function shiftOf(view, block) {
  return view.aligned && block.model ? firstTime(block.model) : 0;
}

/** Takes over new data or options: the axis, the switches, the table, the open details. */
function showData(view) {
  const blocks = shownBlocks(view).filter(({ model }) => model);
  const intervals = [].concat(...blocks.map((block) => busyIntervals(block.model, shiftOf(view, block))));
  const fold = view.fold === null ? gapsDominate(intervals) : view.fold;
  view.axis = makeAxis(intervals, fold);
  view.foldBox.firstChild.checked = fold;
  view.alignBox.hidden = view.runs.length < 2;
  view.toolbar.hidden = !view.axis;
  const events = [].concat(
    ...blocks.map(({ name, model }) => model.events.map((event) => ({ ...event, run: name }))),
  );
  setEvents(view.events, events, blocks.length > 1);
  view.events.element.hidden = !blocks.length;
  showCurves(view, blocks);
  showSelection(view);
  draw(view);
}

/** Several runs are laid over one another, above what happened to each of them. */
function showCurves(view, blocks) {
  view.main.classList.toggle("kse-several", blocks.length > 1);
  const names = view.runs.map(({ name }) => name);
  const toneOfRun = (name) => RUN_TONES[Math.max(0, names.indexOf(name)) % RUN_TONES.length];
  const runs = blocks.map(({ name, model }) => ({ name, model, title: runTitle(name), tone: toneOfRun(name) }));
  setCurves(view.curves, runs, view.fold);
}

function setOption(view, option) {
  Object.assign(view, option);
  showData(view);
}

// ---- the window ---------------------------------------------------------------------------------

function currentWindow(view) {
  if (!view.window) return fullWindow(view.axis);
  return boundWindow(
    view.axis,
    view.window.map((time) => toFold(view.axis, time)),
  );
}

/** The window is kept in times, so that it stays where it is when the axis grows or folds. */
function setWindow(view, wanted) {
  if (!view.axis) return;
  const [low, high] = fullWindow(view.axis);
  const [from, to] = wanted ? boundWindow(view.axis, wanted) : [low, high];
  const isFull = to - from >= (high - low) * 0.999;
  view.window = isFull ? null : [from, to].map((fold) => toTime(view.axis, fold));
  view.follow = true;
  requestDraw(view);
}

function requestDraw(view) {
  if (view.drawing) return;
  view.drawing = true;
  requestAnimationFrame(() => {
    view.drawing = false;
    draw(view);
  });
}

function draw(view) {
  if (!view.axis) return;
  if (view.curvesWidth !== view.main.clientWidth) {
    view.curvesWidth = view.main.clientWidth;
    drawCurves(view.curves);
  }
  const visible = currentWindow(view);
  for (const block of shownBlocks(view)) {
    if (!block.model) continue;
    drawPlot(block.plot, {
      axis: view.axis,
      window: visible,
      relative: view.aligned,
      follow: view.follow,
      ...blockShown(view, block),
    });
  }
  view.follow = false;
}

function blockShown(view, block) {
  const mine = (chosen) => chosen && chosen.run === block.name;
  return {
    shift: shiftOf(view, block),
    pin: mine(view.pin) ? view.pin.time : null,
    selected: mine(view.selection) ? view.selection.id : null,
  };
}

function centreAt(view, block, time) {
  const [from, to] = currentWindow(view);
  const half = (view.window ? to - from : view.axis.length * CENTRE_SHARE) / 2;
  const middle = toFold(view.axis, time - shiftOf(view, block));
  setWindow(view, [middle - half, middle + half]);
}

function reveal(view, block, time, then) {
  centreAt(view, block, time);
  draw(view);
  then();
}

// ---- choosing something -------------------------------------------------------------------------

function pickEvent(view, { run, time, process }) {
  const block = blockOf(view, run);
  if (time === null || !view.axis) return;
  view.pin = { run, time };
  centreAt(view, block, time);
  draw(view);
  if (process !== null) followPlot(block.plot, process);
  block.plot.element.scrollIntoView({ block: "nearest" });
}

function select(view, selection) {
  const wasOpen = view.selection;
  if (!selection && !wasOpen) return;
  view.selection = selection && { ...selection };
  hideCard(view.card);
  const panel = showSelection(view);
  draw(view);
  if (panel) focusPanel(panel);
  else if (!selection) blockOf(view, wasOpen.run).plot.area.focus();
}

/** Opens and closes the panels as the selection says; returns the one that was opened. */
function showSelection(view) {
  let opened = null;
  for (const block of shownBlocks(view)) {
    const { selected } = blockShown(view, block);
    opened = openDetails(block, selected, () => select(view, null)) || opened;
  }
  return opened;
}

function focusPanel(panel) {
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
}
