// The table of lifecycle events, newest first. Only the rows in view exist: 10,000 stay smooth.
import { cutText, exactText, figuresText, formatCount, formatTime } from "./format.js";
import { html } from "./dom.js";

const ROW_HEIGHT = 26;
const VISIBLE_ROWS = 12;
const SPARE_ROWS = 8;

/** `onPick(event)` is called for the row that was chosen. */
export function createEvents(onPick) {
  const table = {
    events: [],
    shown: [],
    manyRuns: false,
    text: "",
    kind: "",
    focused: null,
    rows: [],
    onPick,
    ...tableNodes(),
  };
  table.filter.addEventListener("input", () => setFilter(table, table.filter.value, table.kinds.value));
  table.kinds.addEventListener("change", () => setFilter(table, table.filter.value, table.kinds.value));
  table.scroller.addEventListener("scroll", () => drawRows(table));
  table.body.addEventListener("click", (event) => pickRow(table, event.target));
  table.body.addEventListener("focusin", (event) => (table.focused = rowIndex(event.target)));
  table.body.addEventListener("keydown", (event) => pressRow(table, event));
  return table;
}

function tableNodes() {
  const filter = html("input", {
    type: "search",
    class: "kse-input",
    placeholder: "Filter events",
    "aria-label": "Filter events by text",
    "data-role": "filter",
  });
  const kinds = html("select", { class: "kse-input", "aria-label": "Kind of event", "data-role": "kinds" });
  const count = html("span", { class: "kse-quiet", role: "status", "data-role": "event-count" });
  const head = html("tr", {});
  const body = html("tbody", {});
  const grid = html("table", { class: "kse-events-table" }, html("thead", {}, head), body);
  const scroller = html("div", { class: "kse-events-scroller", tabindex: "-1" }, grid);
  const bar = html("div", { class: "kse-events-bar" }, html("h2", {}, "Events"), count, filter, kinds);
  const element = html(
    "section",
    { class: "kse-events", "aria-label": "Events", "data-role": "events" },
    bar,
    scroller,
  );
  return { element, filter, kinds, count, head, body, grid, scroller };
}

/** Events `{run, time, kind, number, figures}` of all selected runs. */
export function setEvents(table, events, manyRuns) {
  table.events = events.slice().sort((a, b) => b.time - a.time || b.seq - a.seq);
  table.manyRuns = manyRuns;
  const titles = ["Time", ...(manyRuns ? ["Run"] : []), "Event", "Process", "Figures"];
  table.head.replaceChildren(
    ...titles.map((title) => html("th", { scope: "col", class: `kse-col-${title.toLowerCase()}` }, title)),
  );
  setKinds(table);
  setFilter(table, table.text, table.kind, true);
}

function setKinds(table) {
  const counts = new Map();
  for (const { kind } of table.events) counts.set(kind, (counts.get(kind) || 0) + 1);
  if (table.kind && !counts.has(table.kind)) counts.set(table.kind, 0);
  const kinds = Array.from(counts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, 200);
  const options = kinds.map(([kind, count]) =>
    html("option", { value: kind }, `${cutText(kind, 60)} (${formatCount(count)})`),
  );
  table.kinds.replaceChildren(html("option", { value: "" }, "All kinds"), ...options);
  table.kinds.value = table.kind;
}

function setFilter(table, text, kind, keepScroll = false) {
  table.text = text;
  table.kind = kind;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (event) => words.every((word) => searchText(event).includes(word));
  table.shown = table.events.filter((event) => (!kind || event.kind === kind) && fits(event));
  const total = formatCount(table.events.length);
  table.count.textContent =
    table.shown.length === table.events.length ? total : `${formatCount(table.shown.length)} of ${total}`;
  table.grid.setAttribute("aria-rowcount", table.shown.length + 1);
  const rows = Math.min(VISIBLE_ROWS, Math.max(2, table.shown.length)) + 1; // with the header
  table.scroller.style.height = `${rows * ROW_HEIGHT + 2}px`;
  if (!keepScroll) table.scroller.scrollTop = 0;
  Object.assign(table, { range: null, rows: [] });
  drawRows(table);
}

/** What the filter looks into; made once per event, and only when someone filters. */
function searchText(event) {
  if (!event.search) {
    const parts = [
      formatTime(event.time),
      event.run,
      event.kind,
      `process ${event.number}`,
      figuresText(event.figures),
      cutText(exactText(event.figures), 2000),
    ];
    event.search = parts.join(" ").toLowerCase();
  }
  return event.search;
}

// ---- rows ---------------------------------------------------------------------------------------

function drawRows(table) {
  const first = Math.max(0, Math.floor(table.scroller.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
  const last = Math.min(table.shown.length, first + VISIBLE_ROWS + 2 * SPARE_ROWS);
  if (table.range && table.range[0] === first && table.range[1] === last) return;
  table.range = [first, last];
  const hadFocus = table.body.contains(document.activeElement);
  const rows = table.shown.slice(first, last).map((event, index) => keptRow(table, event, first + index));
  table.rows = rows;
  table.body.replaceChildren(spacer(first), ...rows, spacer(table.shown.length - last));
  if (!table.shown.length) table.body.replaceChildren(emptyRow(table));
  if (hadFocus) focusDrawn(table);
}

function spacer(rows) {
  const node = html("tr", { "aria-hidden": "true", class: "kse-spacer" });
  node.style.height = `${rows * ROW_HEIGHT}px`;
  return node;
}

function emptyRow(table) {
  const text = table.events.length ? "No event fits this filter." : "No event has been recorded yet.";
  return html("tr", {}, html("td", { colspan: "5", class: "kse-quiet" }, text));
}

/** A row that stays in view stays the same node, for the sake of clicks, hovering and focus. */
function keptRow(table, event, index) {
  const kept = table.rows.find((row) => row.getAttribute("data-index") === String(index));
  return kept || eventRow(table, event, index);
}

function eventRow(table, event, index) {
  const cells = [
    formatTime(event.time),
    ...(table.manyRuns ? [cutText(event.run, 80)] : []),
    event.kind,
    event.number,
    figuresText(event.figures),
  ];
  const hooks = {
    "data-role": "event",
    "data-index": index,
    "data-kind": event.kind,
    "aria-rowindex": index + 2,
    tabindex: "0",
  };
  return html(
    "tr",
    { class: "kse-event", ...hooks },
    ...cells.map((text) => html("td", { dir: "auto" }, text)),
  );
}

function rowIndex(node) {
  const row = node.closest("[data-index]");
  return row ? Number(row.getAttribute("data-index")) : null;
}

function pickRow(table, node) {
  const index = rowIndex(node);
  if (index === null) return;
  table.onPick(table.shown[index]);
}

function pressRow(table, event) {
  const index = rowIndex(event.target);
  if (index === null) return;
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: VISIBLE_ROWS, PageUp: -VISIBLE_ROWS }[event.key];
  if (step) focusRow(table, index + step);
  else if (event.key === "Enter") pickRow(table, event.target);
  else return;
  event.preventDefault();
}

function focusRow(table, wanted) {
  const index = Math.max(0, Math.min(table.shown.length - 1, wanted));
  table.focused = index;
  scrollToRow(table.scroller, index);
  drawRows(table);
  focusDrawn(table);
}

function focusDrawn(table) {
  const row = table.body.querySelector(`[data-index="${table.focused}"]`);
  if (row) row.focus({ preventScroll: true });
}

function scrollToRow(scroller, index) {
  const top = index * ROW_HEIGHT;
  const height = scroller.clientHeight - ROW_HEIGHT; // less the header, which stays in view
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top + ROW_HEIGHT > scroller.scrollTop + height) scroller.scrollTop = top + ROW_HEIGHT - height;
}
