// Building nodes. Text only ever becomes text: there is no path from a string to markup.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
let ruler = null;
const textWidths = new Map();
const KEPT_WIDTHS = 5000;

function fill(node, attributes, children) {
  for (const name of Object.keys(attributes)) {
    const value = attributes[name];
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

export function button(label, attributes, onClick) {
  const node = html("button", { type: "button", class: "kse-button", ...attributes }, label);
  node.addEventListener("click", onClick);
  return node;
}

export function checkbox(label, attributes, onChange) {
  const input = html("input", { type: "checkbox", ...attributes });
  input.addEventListener("change", () => onChange(input.checked));
  return html("label", { class: "kse-check" }, input, html("span", { dir: "auto" }, label));
}

/** The width of a text in the plot's font; kept, since the same few labels are asked for each frame. */
export function textWidth(text, weight = 400) {
  const key = `${weight} ${text}`;
  if (!textWidths.has(key)) {
    if (textWidths.size > KEPT_WIDTHS) textWidths.clear();
    textWidths.set(key, measureText(text, weight));
  }
  return textWidths.get(key);
}

function measureText(text, weight) {
  ruler = ruler || document.createElement("canvas").getContext("2d");
  ruler.font = `${weight} 11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  return ruler.measureText(text).width;
}

// ---- symbols: a shape says the same as a colour -------------------------------------------------

function corners(count, turn, radiusAt) {
  return Array.from({ length: count }, (_, k) => {
    const angle = ((k + turn) / count) * 2 * Math.PI - Math.PI / 2;
    return [Math.cos(angle) * radiusAt(k), Math.sin(angle) * radiusAt(k)];
  });
}

function shapeCorners(shape) {
  switch (shape) {
    case "square":
      return corners(4, 0.5, () => 1.15);
    case "diamond":
      return corners(4, 0, () => 1.2);
    case "triangle":
      return corners(3, 0, () => 1.25);
    case "play":
      return corners(3, 0.75, () => 1.2);
    case "wedge":
      return corners(3, 1.5, () => 1.25);
    case "star":
      return corners(10, 0, (k) => (k % 2 ? 0.55 : 1.35));
    case "pentagon":
      return corners(5, 0, () => 1.15);
    case "cross":
      return corners(12, 0.5, (k) => (k % 3 === 1 ? 0.42 : 1.25));
    case "bolt":
      return [
        [0.3, -1.4],
        [-0.9, 0.25],
        [-0.1, 0.25],
        [-0.3, 1.4],
        [0.9, -0.25],
        [0.1, -0.25],
      ];
    case "hexagon":
      return corners(6, 0, () => 1.15);
    default:
      return corners(24, 0, () => 1);
  }
}

function symbolPath(shape, x, y, radius) {
  const points = shapeCorners(shape).map(([dx, dy]) => [x + dx * radius, y + dy * radius]);
  return `M${points.map((point) => point.map((value) => value.toFixed(1)).join(",")).join("L")}Z`;
}

const REASON_STYLES = {
  EveryEpochs: ["circle", "blue"],
  EverySteps: ["square", "teal"],
  EverySeconds: ["diamond", "violet"],
  OnBest: ["star", "gold"],
  OnSignal: ["triangle", "orange"],
};
const SPARE_STYLES = [
  ["hexagon", "slate"],
  ["pentagon", "pink"],
  ["wedge", "green"],
];
const INCIDENT_STYLES = {
  failed: ["cross", "red"],
  save_failed: ["square", "red"],
  rejected: ["wedge", "orange"],
  signal: ["bolt", "orange"],
};

export function reasonStyle(reasons, name) {
  if (Object.keys(REASON_STYLES).includes(name)) return REASON_STYLES[name];
  const spare = reasons.filter((reason) => !Object.keys(REASON_STYLES).includes(reason));
  return SPARE_STYLES[Math.max(0, spare.indexOf(name)) % SPARE_STYLES.length];
}

export function incidentStyle(kind) {
  return Object.keys(INCIDENT_STYLES).includes(kind) ? INCIDENT_STYLES[kind] : SPARE_STYLES[0];
}

export function symbol([shape, tone], x, y, radius, hollow) {
  const path = symbolPath(shape, x, y, radius);
  return svg("path", { d: path, class: `kse-symbol kse-tone-${tone}${hollow ? " kse-hollow" : ""}` });
}
