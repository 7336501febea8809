// The tab in TensorBoard: where the data comes from, and what TensorBoard itself offers the view.
import { mount } from "./view.js";

const RELOAD_SECONDS = 10;

export function render() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = "./style.css";
  document.head.append(link);
  document.body.style.margin = "0";
  document.title = "Session";
  const view = mount(document.body, serverSource(), { reloadSeconds: RELOAD_SECONDS });
  offerReload(view);
  followTheme(view);
}

function serverSource() {
  return {
    runs: () => fetchJson("./runs"),
    timeline: (name) => fetchJson(`./timeline?run=${encodeURIComponent(name)}`),
  };
}

async function fetchJson(url) {
  const response = await fetch(url);
  if (response.ok) return response.json();
  const { message } = await response.json().catch(() => ({}));
  throw new Error(message || `${url} answered ${response.status} ${response.statusText}`);
}

// Both of the following are undocumented in TensorBoard: without them the view still works, with
// its own timer and the system's theme.

function offerReload(view) {
  try {
    window.frameElement.reload = view.reload;
  } catch {
    // Not in a frame of TensorBoard.
  }
}

function followTheme(view) {
  try {
    const { body } = window.parent.document;
    if (window.parent === window) return;
    const apply = () => view.setTheme(body.classList.contains("dark-mode") ? "dark" : "light");
    new MutationObserver(apply).observe(body, { attributes: true, attributeFilter: ["class"] });
    apply();
  } catch {
    // A page of another origin: its theme cannot be seen.
  }
}
