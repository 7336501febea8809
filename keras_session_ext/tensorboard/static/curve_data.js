// Curves as they came, read into lines one can rely on, and gathered into charts: one for each metric,
// with its validation and the components of a vector in the same one.
import { numberOf, textOf, timeOf } from "./format.js";
import { recordOf } from "./read.js";

const ODD_VALUES = ["nan", "inf", "-inf"];
const LOWER_IS_BETTER = /loss|error|(^|_)(mse|mae|rmse|mape|perplexity)($|_)/i;
const HIGHER_IS_BETTER = /acc|auc|precision|recall|f1|iou|dice|bleu|r2/i;

/** `{lines, thrown, restarts, saves, leftOut}`; a point is `{step, time, value, odd}`, one of the last two null. */
export function readCurves(raw) {
  const curves = recordOf(raw);
  const records = (list) => (Array.isArray(list) ? list.map(recordOf) : []);
  const thrown = records(curves.thrown).map((one) => ({
    steps: [numberOf(one.from), numberOf(one.to)],
    times: [timeOf(one.start), timeOf(one.end)],
  }));
  const restarts = records(curves.restarts).map((one) => ({
    how: textOf(one.how, ""),
    ended: { step: numberOf(one.ended_step), time: timeOf(one.ended) },
    begun: { step: numberOf(one.step), time: timeOf(one.time) },
  }));
  const lines = records(curves.lines)
    .map(readLine)
    .filter(({ points }) => points.length);
  const places = recordOf(curves.saves);
  const [steps, times] = [places.steps, places.times].map((list) => (Array.isArray(list) ? list : []));
  const saves = steps.map((step, index) => ({ step: numberOf(step), time: timeOf(times[index]) }));
  const leftOut = Array.isArray(curves.left_out) ? curves.left_out.map((name) => textOf(name)) : [];
  return { lines, thrown, restarts, saves, leftOut };
}

function readLine(raw) {
  const columns = [raw.steps, raw.times, raw.values].map((list) => (Array.isArray(list) ? list : []));
  const parts = Array.isArray(raw.parts) ? raw.parts : [];
  const points = columns[0].map((step, index) => readPoint(step, columns[1][index], columns[2][index], parts[index]));
  return {
    name: textOf(raw.name),
    source: textOf(raw.source),
    thrown: numberOf(raw.thrown),
    points: points.filter(Boolean),
  };
}

/** `part` is the epoch of a point within one: a line does not lead from one to the next. */
function readPoint(rawStep, rawTime, value, part) {
  const [step, time] = [numberOf(rawStep), timeOf(rawTime)];
  const odd = ODD_VALUES.includes(value) ? value : null;
  if (step === null || time === null || (typeof value !== "number" && !odd)) return null;
  return { step, time, value: odd ? null : value, odd, part: numberOf(part) };
}

// ---- charts -------------------------------------------------------------------------------------

export function isValidation(name) {
  return name.startsWith("val_");
}

/** What a line is drawn under: "val_f1[3]" belongs to "f1". */
function chartName(name) {
  return name.replace(/^val_/, "").replace(/\[[^\]]*\]$/, "") || name;
}

/** The charts of some runs `{name, model, tone, start}`: `[{name, lines}]`, a line with its run; losses first. */
export function chartsOf(runs) {
  const charts = new Map();
  for (const run of runs) {
    for (const line of run.model.curves.lines) {
      const name = chartName(line.name);
      if (!charts.has(name)) charts.set(name, []);
      charts.get(name).push({ ...line, run });
    }
  }
  const rank = (name) => (name === "loss" ? 0 : 1);
  return Array.from(charts)
    .map(([name, lines]) => ({ name, lines, parts: distinctNames(lines) }))
    .sort((a, b) => rank(a.name) - rank(b.name));
}

function distinctNames(lines) {
  return Array.from(new Set(lines.map((line) => line.name)));
}

/** The names of what all runs together have logged. */
export function distinctLines(runs) {
  return distinctNames(runs.flatMap(({ model }) => model.curves.lines));
}

/** The last value of a metric, and the best one where its name says which that is; or null. */
export function lastAndBest(model, name) {
  const line =
    model.curves.lines.find((one) => one.name === name && one.source === "epochs" && one.thrown === null) ||
    model.curves.lines.find((one) => one.name === name && one.thrown === null);
  if (!line) return null;
  const last = line.points[line.points.length - 1];
  const values = line.points.map(({ value }) => value).filter((value) => value !== null);
  const lower = LOWER_IS_BETTER.test(name);
  const best = values.length && (lower || HIGHER_IS_BETTER.test(name)) ? extreme(values, lower) : null;
  return { last: last.odd || last.value, best };
}

function extreme(values, least) {
  return values.reduce((found, value) => (least ? Math.min(found, value) : Math.max(found, value)));
}

// ---- where a point stands -----------------------------------------------------------------------

/** The place of a point on the axis of steps, or on that of time since the start of its run. */
export function placeOf({ step, time }, run, byTime) {
  if (!byTime) return step;
  return time === null ? null : time - run.start;
}

/** The point of a line that is nearest to `place`, or null. */
export function nearestPoint(line, place, byTime) {
  const { points, run } = line;
  let [low, high] = [0, points.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (placeOf(points[middle], run, byTime) <= place) low = middle;
    else high = middle;
  }
  const far = (index) => Math.abs(placeOf(points[index], run, byTime) - place);
  return points.length ? points[far(low) <= far(high) ? low : high] : null;
}

// ---- round numbers for an axis ------------------------------------------------------------------

/** Three to six round numbers within [low, high]. */
export function niceTicks(low, high, most = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.min(20, Math.floor(high / step + 1e-9) - first + 1);
  if (count < 3 && most < 12) return niceTicks(low, high, most + 2);
  return Array.from({ length: Math.max(0, count) }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

/** Powers of ten within [low, high], and twice and five times these where there are few. */
export function logTicks(low, high) {
  const powers = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k += 1) powers.push(10 ** k);
  const within = (list) => list.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  const every = Math.ceil(within(powers).length / 5) || 1;
  if (within(powers).length > 2) return within(powers).filter((_, index) => index % every === 0);
  const finer = within(powers.flatMap((power) => [1, 2, 5].map((factor) => factor * power)));
  return finer.length > 1 ? finer : niceTicks(low, high, 3);
}

/** A number in few characters: "0.0312", "12k", "3e-7". */
export function shortNumber(number) {
  const size = Math.abs(number);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return number.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  for (const [unit, word] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= unit * 10 || (size >= unit && unit > 1e3)) return `${Number((number / unit).toPrecision(4))}${word}`;
  }
  return String(Number(number.toPrecision(4)));
}
