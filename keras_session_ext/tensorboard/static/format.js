// Values as text. Whatever the journal holds becomes a short, honest string; nothing here throws.

const LONGEST_TEXT = 300;
const BYTE_UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const LATEST_TIME = 1e11; // seconds; anything later is not a time

/** A finite number from a number or a numeric string, otherwise null. */
export function numberOf(raw) {
  if (typeof raw === "string" && raw.trim()) raw = Number(raw);
  return typeof raw === "number" && Number.isFinite(raw) ? raw : null;
}

export function timeOf(raw) {
  const time = numberOf(raw);
  return time !== null && time >= 0 && time < LATEST_TIME ? time : null;
}

/** The value itself as text, uncut: what tests compare and what the clipboard gets. */
export function exactText(raw) {
  if (raw === null || raw === undefined) return "";
  if (typeof raw === "string") return raw;
  return typeof raw === "object" ? JSON.stringify(raw) : String(raw);
}

export function cutText(text, longest = LONGEST_TEXT) {
  if (text.length <= longest) return text;
  return `${text.slice(0, longest)}… (${groupDigits(text.length)} characters)`;
}

export function textOf(raw, missing = "–") {
  return cutText(exactText(raw)) || missing;
}

function groupDigits(integer) {
  return String(integer).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function formatCount(raw) {
  const number = numberOf(raw);
  return number === null ? textOf(raw) : formatNumber(number);
}

function formatNumber(number) {
  if (Number.isInteger(number) && Math.abs(number) < 1e15) return groupDigits(number);
  const text = String(number);
  return text.length <= 10 ? text : String(Number(number.toPrecision(6)));
}

function trimmed(number, digits) {
  return String(Number(number.toFixed(digits)));
}

export function formatBytes(raw) {
  const bytes = numberOf(raw);
  if (bytes === null) return textOf(raw);
  if (Math.abs(bytes) < 1024) return `${formatNumber(bytes)} bytes`;
  const power = Math.min(BYTE_UNITS.length, Math.floor(Math.log2(Math.abs(bytes)) / 10));
  return `${trimmed(bytes / 1024 ** power, 1)} ${BYTE_UNITS[power - 1]}`;
}

/** Two units at most: "4 ms", "3.1 s", "2 min 5 s", "2 h 5 min", "3 d 4 h". */
export function formatDuration(raw) {
  const seconds = numberOf(raw);
  if (seconds === null) return textOf(raw);
  if (seconds < 0) return `−${formatDuration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${trimmed(seconds * 1e6, 1)} µs`;
  if (seconds < 1) return `${trimmed(seconds * 1000, seconds < 0.1 ? 2 : 1)} ms`;
  if (seconds < 59.95) return `${trimmed(seconds, seconds < 10 ? 2 : 1)} s`;
  if (seconds < 3599.5) return twoUnits(Math.round(seconds), 60, "min", 1, "s");
  if (seconds < 86370) return twoUnits(Math.round(seconds / 60), 60, "h", 1, "min");
  return twoUnits(Math.round(seconds / 3600), 24, "d", 1, "h");
}

function twoUnits(amount, size, large, one, small) {
  const rest = amount % size;
  const whole = `${groupDigits((amount - rest) / size)} ${large}`;
  return rest ? `${whole} ${rest * one} ${small}` : whole;
}

export function formatShare(raw, digits = 1) {
  const share = numberOf(raw);
  return share === null ? textOf(raw) : `${trimmed(share * 100, digits)} %`;
}

function twoDigits(number) {
  return String(number).padStart(2, "0");
}

/** Local time of day, to the minute, second or millisecond, as `step` seconds ask for. */
export function formatClock(time, step) {
  const date = new Date(Math.round(time * 1000));
  const minutes = `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}`;
  if (step >= 60) return minutes;
  const seconds = `${minutes}:${twoDigits(date.getSeconds())}`;
  return step >= 1 ? seconds : `${seconds}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function formatDay(time) {
  return `${formatDayOfYear(time)} ${new Date(time * 1000).getFullYear()}`;
}

export function formatDayOfYear(time) {
  const date = new Date(time * 1000);
  return `${date.getDate()} ${MONTHS[date.getMonth()]}`;
}

export function formatTime(raw) {
  const time = timeOf(raw);
  return time === null ? textOf(raw) : `${formatDay(time)}, ${formatClock(time, 1)}`;
}

export function formatZone(time) {
  const minutes = -new Date(time * 1000).getTimezoneOffset();
  const size = Math.abs(minutes);
  const sign = minutes < 0 ? "−" : "+";
  return `UTC${sign}${twoDigits(Math.floor(size / 60))}:${twoDigits(size % 60)}`;
}

/** "1 step", "12 steps". */
export function plural(count, word) {
  return `${formatCount(count)} ${word}${Number(count) === 1 ? "" : "s"}`;
}

/** A run as people call it: what this package adds to the name of its folder is left out. */
export function runTitle(name) {
  return name.replace(/(^|[\\/])session$/, "").replace(/[\\/]tensorboard$/, "") || name;
}

/** A name of the journal in words: "checkpoint_saved" is "checkpoint saved". */
export function wordsOf(raw) {
  return textOf(raw).replace(/_/g, " ");
}

// ---- figures: the unit is the end of the name ---------------------------------------------------

const UNITS = [
  [/(^|_)per_second$/, (raw) => `${formatCount(raw)} per second`, null],
  [/(^|_)seconds$/, formatDuration, "s"],
  [/(^|_)n?bytes$/, formatBytes, "bytes"],
  [/(^|_)(time|created)$/, formatTime, null],
  [/(^|_)share$|^goodput$/, (raw) => formatShare(raw, 2), null],
];

function unitOf(key) {
  return UNITS.find(([pattern]) => pattern.test(key));
}

export function figureLabel(key) {
  if (key === "seconds") return "took";
  const short = key.length > 80 ? cutText(key, 80) : key;
  return (
    short
      .replace(/_?(seconds|bytes)$/, "")
      .replace(/^n$/, "")
      .replace(/_/g, " ") || "size"
  );
}

/** A figure in few words, for tables. */
export function shortFigure(key, raw) {
  if (typeof raw === "boolean") return raw ? "yes" : "no";
  if (numberOf(raw) === null) return textOf(raw);
  const unit = unitOf(key);
  return unit ? unit[1](raw) : formatCount(raw);
}

/** A figure for people with the exact value behind it: "120.6 KiB (123,456 bytes)". */
export function fullFigure(key, raw) {
  const short = shortFigure(key, raw);
  const unit = unitOf(key);
  if (!unit || !unit[2] || numberOf(raw) === null) return short;
  const exact = `${unit[2] === "bytes" ? formatCount(raw) : exactText(raw)} ${unit[2]}`;
  return exact === short ? short : `${short} (${exact})`;
}

export function figuresText(figures) {
  const parts = flatFigures(figures).map(([key, raw]) => `${figureLabel(key)} ${shortFigure(key, raw)}`);
  return cutText(parts.join("  ·  "), 400);
}

/** Figures one level deep: metrics are read one by one. */
function flatFigures(figures) {
  return Object.entries(figures).flatMap(([key, raw]) =>
    raw !== null && typeof raw === "object" && !Array.isArray(raw) ? Object.entries(raw) : [[key, raw]],
  );
}
