// The plot of one run: what is visible, and which item has the focus. The window belongs to the
// view, since all selected runs share it; the plot asks for another one through `actions`.
import { AXIS_HEIGHT, OVERVIEW_HEIGHT, drawAxis, drawGaps, drawGroups, drawNames, drawOverview, zoneText } from "./draw.js";
import { fullWindow, layoutGroups, makeScale, visibleGroups } from "./layout.js";
import { showCard } from "./card.js";
import { html, svg } from "./dom.js";

const HEAD_HEIGHT = AXIS_HEIGHT + OVERVIEW_HEIGHT; // stays above the lanes as they scroll
const MARGIN = 60; // pixels of lanes drawn above and below what is visible

/** `actions`: setWindow(window), open(mark or null), card, hintId. */
export function createPlot(actions) {
  const plot = {
    actions,
    frame: null,
    focusKey: null,
    stop: null,
    drag: null,
    rows: null,
    size: null,
    hovered: null,
    ...plotNodes(actions.hintId),
  };
  plot.scroller.addEventListener("scroll", () => showScrolled(plot));
  return plot;
}

function plotNodes(hintId) {
  const overview = svg("svg", { class: "kse-overview", height: OVERVIEW_HEIGHT, "aria-hidden": "true" });
  const overviewWindow = svg("rect", {
    class: "kse-overview-window",
    "data-role": "window",
    y: 0.5,
    height: OVERVIEW_HEIGHT - 1,
    rx: 3,
  });
  const axis = svg("svg", {
    class: "kse-axis",
    height: AXIS_HEIGHT,
    "data-role": "axis",
    "aria-hidden": "true",
  });
  const zone = html("div", { class: "kse-zone" });
  const head = html(
    "div",
    { class: "kse-plot-head" },
    zone,
    html("div", { class: "kse-plot-top" }, overview, axis),
  );
  const names = html("div", { class: "kse-names" });
  const gaps = html("div", { class: "kse-gaps" });
  const lanes = svg("svg", { class: "kse-lanes" });
  const about = {
    role: "group",
    tabindex: "0",
    "aria-label": "Timeline",
    "aria-describedby": hintId,
    "data-role": "plot",
  };
  const area = html("div", { class: "kse-area", ...about }, gaps, lanes);
  const scroller = html(
    "div",
    { class: "kse-scroller" },
    head,
    html("div", { class: "kse-plot-body" }, names, area),
  );
  return { element: scroller, scroller, overview, overviewWindow, axis, zone, names, gaps, lanes, area };
}

// ---- drawing ------------------------------------------------------------------------------------

export function setPlotModel(plot, model) {
  plot.model = model;
  plot.rows = layoutGroups(model.processes, model.gaps);
  plot.overviewKey = plot.namesKey = null;
  plot.lanes.setAttribute("height", plot.rows.height);
  plot.area.style.height = plot.names.style.height = `${plot.rows.height}px`;
}

/** Draws the window of `shown`: {axis, window, shift, relative, pin, selected, follow}. */
export function drawPlot(plot, shown) {
  measure(plot); // before anything is written, so that the browser lays out only once
  const { width } = plot.size;
  const scale = makeScale(shown.axis, shown.window, width, shown.shift);
  plot.frame = { ...shown, model: plot.model, rows: plot.rows, scale, items: [] };
  if (shown.follow && !plot.drag) followPlot(plot);
  for (const node of [plot.axis, plot.lanes, plot.overview]) node.setAttribute("width", width);
  plot.zone.textContent = zoneText(plot.frame);
  plot.axis.replaceChildren(...drawAxis(plot.frame).filter(Boolean));
  drawOverviewStrip(plot, width);
  drawLanes(plot);
}

function measure(plot) {
  const { scrollTop, clientHeight } = plot.scroller;
  plot.size = { width: Math.max(50, plot.area.clientWidth), top: scrollTop, height: clientHeight };
}

function drawLanes(plot) {
  const { frame, size } = plot;
  const hadFocus = plot.lanes.contains(document.activeElement) || plot.gaps.contains(document.activeElement);
  const top = size.top - MARGIN;
  const bottom = size.top + size.height + MARGIN;
  frame.items = drawNamesOnce(plot, top, bottom);
  plot.gaps.style.top = `${Math.max(0, top)}px`;
  plot.gaps.style.height = `${Math.min(plot.rows.height, bottom) - Math.max(0, top)}px`;
  plot.gaps.replaceChildren(...drawGaps(frame));
  plot.lanes.replaceChildren(...drawGroups(frame, top, bottom), ...drawPin(frame, plot.rows.height));
  restoreFocus(plot, hadFocus);
}

/** Names move only with the rows: panning and zooming leave them, and their items, as they are. */
function drawNamesOnce(plot, top, bottom) {
  const names = { model: plot.model, rows: plot.rows, items: [] };
  const key = visibleGroups(plot.rows.groups, top, bottom)
    .map(({ process }) => process.index)
    .join();
  if (plot.namesKey !== key) {
    plot.names.replaceChildren(...drawNames(names, top, bottom));
    plot.nameItems = names.items;
    plot.namesKey = key;
  }
  return plot.nameItems.slice();
}

function showScrolled(plot) {
  if (!plot.frame || plot.scroller.scrollTop === plot.size.top) return;
  measure(plot);
  drawLanes(plot);
}

function drawPin({ pin, scale }, height) {
  const x = pin === null ? -1 : scale.x(pin);
  if (x < 0 || x > scale.width) return [];
  return [svg("line", { class: "kse-pin", "data-role": "pin", x1: x, x2: x, y1: 0, y2: height })];
}

function drawOverviewStrip(plot, width) {
  const { frame } = plot;
  const whole = makeScale(frame.axis, fullWindow(frame.axis), width, frame.shift);
  const key = [width, frame.axis.length, frame.axis.pieces.length, frame.shift].join();
  if (plot.overviewKey !== key) {
    plot.overview.replaceChildren(...drawOverview({ model: plot.model, scale: whole }), plot.overviewWindow);
    plot.overviewKey = key;
  }
  const [from, to] = frame.window.map((fold) => (fold - fullWindow(frame.axis)[0]) * whole.ratio);
  plot.overviewWindow.setAttribute("x", from + 0.5);
  plot.overviewWindow.setAttribute("width", Math.max(3, to - from - 1));
}

/** Scrolls to a process, or to the first one in the window when none that is visible lives in it. */
export function followPlot(plot, index = null) {
  const { frame, size } = plot;
  const lives = ({ process }) =>
    process.start !== null &&
    frame.scale.x(process.end) > 0 &&
    frame.scale.x(process.start) < frame.scale.width;
  const seen = visibleGroups(plot.rows.groups, size.top, size.top + size.height - HEAD_HEIGHT);
  const wanted = index === null ? lives : (group) => group.process.index === index;
  const target = seen.some(wanted) ? null : plot.rows.groups.find(wanted);
  if (target) plot.scroller.scrollTop = size.top = target.top;
}

// ---- focus: the plot is one stop of Tab, the item stepped to last is the other ------------------

function restoreFocus(plot, hadFocus) {
  const { items } = plot.frame;
  const kept = items.find((item) => item.key === plot.focusKey);
  const stop = kept || items.find((item) => item.marks) || items.find((item) => item.row >= 0);
  if (plot.stop) plot.stop.removeAttribute("tabindex");
  plot.stop = stop ? stop.node : null;
  if (!stop) return;
  stop.node.setAttribute("tabindex", "0");
  if (hadFocus) stop.node.focus({ preventScroll: true });
}

export function itemOf(plot, node) {
  const owner = node && node.closest ? node.closest("[data-item]") : null;
  return owner && plot.scroller.contains(owner) ? plot.frame.items[owner.getAttribute("data-item")] : null;
}

export function focusItem(plot, item) {
  plot.focusKey = item.key;
  restoreFocus(plot, true);
}

export function showItem(plot, item, x, y) {
  plot.hovered = item.key;
  showCard(plot.actions.card, item.card(), x, y);
  item.node.setAttribute("aria-describedby", plot.actions.card.id);
}
