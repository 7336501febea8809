// What pointer, wheel and keys do to a plot. Nothing is changed here but through the plot's actions:
// another window is asked for, a checkpoint is opened.
import { fullWindow, neighbour, panWindow, toFold, zoomWindow } from "./layout.js";
import { focusItem, itemOf, showItem } from "./plot.js";
import { hideCard, moveCard } from "./card.js";
import { html } from "./dom.js";
import { isCheckpoint } from "./read.js";

const KEY_ZOOM = 1.5;
const KEY_PAN = 0.15;
const DRAG_START = 4; // pixels before a press becomes a drag

export function listen(plot) {
  listenToPointer(plot);
  listenToOverview(plot);
  listenToKeys(plot);
}

/** Enter or click: opens a checkpoint; what stands for several comes nearer. */
function openItem(plot, item) {
  const canSplit = item.marks && item.range[1] > item.range[0];
  if (item.marks && item.marks.length > 1 && canSplit) return zoomToTimes(plot, item.range);
  const mark =
    item.marks &&
    item.marks
      .slice()
      .reverse()
      .find((one) => one.checkpoint !== null);
  return mark ? plot.actions.open(mark) : undefined;
}

// ---- asking for another window ------------------------------------------------------------------

function zoomToTimes(plot, times) {
  const { axis, shift } = plot.frame;
  const [from, to] = times.map((time) => toFold(axis, time - shift));
  const edge = (to - from) * 0.1;
  plot.actions.setWindow([from - edge, to + edge]);
}

function zoomToPixels(plot, from, to) {
  const {
    scale,
    window: [start],
  } = plot.frame;
  plot.actions.setWindow([start + from / scale.ratio, start + to / scale.ratio]);
}

function zoomBy(plot, factor, share = 0.5) {
  plot.actions.setWindow(zoomWindow(plot.frame.window, factor, share));
}

function panBy(plot, share) {
  plot.actions.setWindow(panWindow(plot.frame.window, share));
}

// ---- pointer ------------------------------------------------------------------------------------

function listenToPointer(plot) {
  const { area, scroller } = plot;
  area.addEventListener("pointerdown", (event) => startDrag(plot, event));
  area.addEventListener("pointermove", (event) => moveDrag(plot, event));
  area.addEventListener("pointerup", (event) => endDrag(plot, event));
  area.addEventListener("pointercancel", () => stopDrag(plot));
  area.addEventListener("dblclick", (event) => zoomAtDoubleClick(plot, event));
  scroller.addEventListener("wheel", (event) => turnWheel(plot, event), { passive: false });
  scroller.addEventListener("pointermove", (event) => hover(plot, event));
  scroller.addEventListener("pointerleave", () => hideCard(plot.actions.card));
}

function hover(plot, event) {
  if (plot.drag || !plot.frame) return;
  const { card } = plot.actions;
  const item = itemOf(plot, event.target);
  if (!item) hideCard(card);
  else if (card.hidden || plot.hovered !== item.key) showItem(plot, item, event.clientX, event.clientY);
  else moveCard(card, event.clientX, event.clientY);
}

/** The plain wheel scrolls, as on any page; with Ctrl or Cmd it zooms; sideways it pans. */
function turnWheel(plot, event) {
  if (!plot.frame) return;
  const pixels = event.deltaMode === 1 ? 16 : 1;
  if (event.ctrlKey || event.metaKey) {
    const share = (event.clientX - plot.area.getBoundingClientRect().left) / plot.frame.scale.width;
    zoomBy(plot, Math.exp((event.deltaY * pixels) / 400), Math.max(0, Math.min(1, share)));
  } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    panBy(plot, (event.deltaX * pixels) / plot.frame.scale.width);
  } else {
    return;
  }
  event.preventDefault();
  hideCard(plot.actions.card);
}

function startDrag(plot, event) {
  if (event.button !== 0 || !plot.frame) return;
  const { left } = plot.area.getBoundingClientRect();
  plot.drag = { x: event.clientX, y: event.clientY, left, moved: false, window: plot.frame.window };
  plot.drag.scrollTop = plot.scroller.scrollTop;
  plot.drag.item = itemOf(plot, event.target);
  if (event.shiftKey) plot.drag.range = plot.area.appendChild(html("div", { class: "kse-range" }));
  plot.area.setPointerCapture(event.pointerId);
}

function moveDrag(plot, event) {
  const { drag } = plot;
  if (!drag) return;
  drag.moved = drag.moved || Math.abs(event.clientX - drag.x) + Math.abs(event.clientY - drag.y) > DRAG_START;
  if (!drag.moved) return;
  hideCard(plot.actions.card);
  if (drag.range) drawRange(drag, event.clientX);
  else dragWindow(plot, event);
}

function dragWindow(plot, event) {
  const { drag } = plot;
  plot.scroller.scrollTop = drag.scrollTop - (event.clientY - drag.y);
  plot.actions.setWindow(panWindow(drag.window, (drag.x - event.clientX) / plot.frame.scale.width));
}

function drawRange({ range, left, x }, to) {
  range.style.left = `${Math.min(x, to) - left}px`;
  range.style.width = `${Math.abs(to - x)}px`;
}

function endDrag(plot, event) {
  const { drag } = plot;
  stopDrag(plot);
  if (!drag) return;
  if (!drag.moved) {
    if (drag.item) openItem(plot, drag.item);
  } else if (drag.range) {
    const ends = [drag.x - drag.left, event.clientX - drag.left];
    zoomToPixels(plot, Math.min(...ends), Math.max(...ends));
  }
}

function stopDrag(plot) {
  if (plot.drag && plot.drag.range) plot.drag.range.remove();
  plot.drag = null;
}

function zoomAtDoubleClick(plot, event) {
  const item = itemOf(plot, document.elementFromPoint(event.clientX, event.clientY));
  if (item && item.range && item.range[1] > item.range[0]) zoomToTimes(plot, item.range);
  else plot.actions.setWindow(null);
}

function listenToOverview(plot) {
  const { overview } = plot;
  const centre = (event) => {
    if (!plot.frame || !event.buttons) return;
    const { left, width } = overview.getBoundingClientRect();
    const [low, high] = fullWindow(plot.frame.axis);
    const [from, to] = plot.frame.window;
    const middle = low + ((event.clientX - left) / width) * (high - low);
    plot.actions.setWindow([middle - (to - from) / 2, middle + (to - from) / 2]);
  };
  overview.addEventListener("pointerdown", (event) => {
    overview.setPointerCapture(event.pointerId);
    centre(event);
  });
  overview.addEventListener("pointermove", centre);
}

// ---- keys ---------------------------------------------------------------------------------------

function listenToKeys(plot) {
  plot.area.addEventListener("keydown", (event) => {
    if (!plot.frame || event.ctrlKey || event.metaKey || event.altKey) return;
    const item = itemOf(plot, event.target);
    if (item ? pressOnItem(plot, item, event.key) : pressOnPlot(plot, event.key)) event.preventDefault();
  });
  plot.area.addEventListener("focusin", (event) => showFocused(plot, event.target));
  plot.area.addEventListener("focusout", () => hideCard(plot.actions.card));
}

function showFocused(plot, node) {
  const item = itemOf(plot, node);
  if (!item || plot.drag || !node.matches(":focus-visible")) return;
  plot.focusKey = item.key;
  const { left, top, width, height } = node.getBoundingClientRect();
  showItem(plot, item, left + Math.min(width, 200) / 2, top + Math.min(height, 40) / 2);
}

/** Keys for the window; true when the key meant something. */
function pressWindow(plot, key) {
  if (key === "+" || key === "=") zoomBy(plot, 1 / KEY_ZOOM);
  else if (key === "-") zoomBy(plot, KEY_ZOOM);
  else if (key === "Home" || key === "0") plot.actions.setWindow(null);
  else return false;
  return true;
}

function pressOnPlot(plot, key) {
  if (key === "ArrowLeft" || key === "ArrowRight") panBy(plot, key === "ArrowLeft" ? -KEY_PAN : KEY_PAN);
  else if (key === "ArrowUp" || key === "ArrowDown") plot.scroller.scrollTop += key === "ArrowUp" ? -40 : 40;
  else if (key === "Escape") plot.actions.open(null);
  else return pressWindow(plot, key);
  return true;
}

function pressOnItem(plot, item, key) {
  if (key.startsWith("Arrow")) stepFrom(plot, item, key);
  else if (key === "Enter" || key === " ") openItem(plot, item);
  else if (key === "Escape") leaveItem(plot);
  else return pressWindow(plot, key);
  return true;
}

function leaveItem(plot) {
  plot.actions.open(null);
  plot.area.focus();
}

function stepFrom(plot, item, key) {
  const next = neighbour(
    plot.frame.items.filter((one) => one.row >= 0),
    item,
    key,
  );
  if (next) return focusItem(plot, next);
  const hidden = hiddenMark(plot, item, key);
  if (hidden)
    plot.actions.reveal(hidden.time, () =>
      focusItem(plot, plot.frame.items.find((one) => one.marks && one.marks.includes(hidden)) || item),
    );
  return undefined;
}

/** The mark of the item's own row that stands next to it outside the window. */
function hiddenMark(plot, item, key) {
  if (!item.marks) return null;
  const { owner, time } = item.marks[key === "ArrowRight" ? item.marks.length - 1 : 0];
  const row = isCheckpoint(item.marks[0]) ? owner.checkpoints : owner.incidents;
  if (key === "ArrowRight") return row.find((mark) => mark.time > time);
  return key === "ArrowLeft"
    ? row
        .slice()
        .reverse()
        .find((mark) => mark.time < time)
    : null;
}
