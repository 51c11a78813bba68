// The dashboard: the history over HTTP, then a point a second over the socket.

import { ask, subscribe, token } from "./api.js";
import { bytes, drawCharts, drawErrors, number } from "./charts.js";

const FINE_S = 300;
const HISTORY_EVERY_MS = 15_000;
const PARTS_EVERY_MS = 5_000;
const ROWS_MAX = 200;

const $ = (id) => document.getElementById(id);
const make = (tag, text, className = "") => Object.assign(document.createElement(tag), { textContent: text, className });
const show = drawCharts($("charts"));
const showErrors = drawErrors($("errors-chart"));
const LEVELS = { healthy: "good", closed: "good", off: "", degraded: "warn", half_open: "warn", unhealthy: "bad", critical: "bad", open: "bad" };

let windowS = FINE_S;
let points = [];

function problem(error) {
  $("problem").hidden = !error;
  $("problem").textContent = error ? `${error.message ?? error}` : "";
}

/** Runs it, and shows what went wrong with it, if anything did. */
const guarded = (work) => async (...args) => {
  try {
    await work(...args);
    problem(null);
  } catch (error) {
    problem(error);
  }
};

const NOW = [
  ["Connections", (p) => number(p.connections)],
  ["Streams", (p) => number(p.streams)],
  ["Audio s/s", (p) => number(p.audio_s_per_s)],
  ["Ack p99", (p) => (p.ack_p99_us == null ? "–" : `${number(p.ack_p99_us / 1000)} ms`)],
  ["In", (p) => `${bytes(p.bytes_in_per_s)}/s`],
  ["Out", (p) => `${bytes(p.bytes_out_per_s)}/s`],
  ["Errors/s", (p) => number(p.errors_per_s)],
  ["Queued", (p) => bytes(p.queue_bytes)],
  ["Processor", (p) => `${number(p.process_cpu_percent)} %`],
  ["Memory", (p) => bytes(p.process_memory_bytes)],
];
const cells = NOW.map(([label]) => {
  const box = $("now").appendChild(document.createElement("div"));
  box.appendChild(make("dt", label));
  return box.appendChild(make("dd", "–"));
});
const showNow = (point) => point && NOW.forEach(([, write], n) => (cells[n].textContent = write(point)));

function addPoint(point) {
  showNow(point);
  if (windowS !== FINE_S) return;
  points.push(point);
  const oldest = Date.parse(point.at) - FINE_S * 1000;
  points = points.filter((p) => Date.parse(p.at) >= oldest);
  show(points);
}

const loadHistory = guarded(async () => {
  const asked = windowS;
  const history = await ask(`monitoring/metrics?window_s=${asked}&format=json`);
  if (asked !== windowS) return;
  points = history.points;
  show(points);
  showNow(points.at(-1));
});

const badge = (name, state) => make("li", `${name}: ${state}`.replaceAll("_", " "), `badge ${LEVELS[state] ?? ""}`);

const loadParts = guarded(async () => {
  const now = await ask("health/detailed");
  $("health").textContent = now.status;
  $("health").className = `badge ${LEVELS[now.status] ?? ""}`;
  const parts = Object.entries(now.components).map(([name, part]) => badge(name, part.status));
  const breakers = now.circuit_breakers.map((b) => badge(`breaker ${b.name}`, b.state));
  $("parts").replaceChildren(...parts, ...breakers);
  $("findings").replaceChildren(...now.findings.map((f) => make("li", `${f.part} is ${f.status}: ${f.reason}`)));
});

const clock = (at) => new Date(at).toLocaleTimeString();

function row(values, last) {
  const tr = document.createElement("tr");
  values.forEach((v) => tr.appendChild(make("td", v ?? "–")));
  if (last) tr.appendChild(document.createElement("td")).appendChild(last);
  return tr;
}

const loadErrors = guarded(async () => {
  const minutes = Math.max(Math.round(windowS / 60), 5);
  const errors = await ask(`monitoring/errors?minutes=${minutes}&limit=${ROWS_MAX}`);
  showErrors(errors.timeline, errors.by_kind);
  const rows = errors.recent.map((e) => row([clock(e.at), e.kind, e.severity, e.part, e.message, e.connection_id]));
  $("errors").tBodies[0].replaceChildren(...rows);
});

const disconnect = guarded(async (id) => {
  await ask(`api/connections/${encodeURIComponent(id)}`, "DELETE");
  await loadConnections();
});

function cut(connection) {
  const button = make("button", "Disconnect");
  button.type = "button";
  button.onclick = () => confirm(`Disconnect ${connection.client_id}?`) && disconnect(connection.connection_id);
  return button;
}

const loadConnections = guarded(async () => {
  const list = await ask(`monitoring/connections?limit=${ROWS_MAX}`);
  $("connections-count").textContent = list.next ? `the first ${ROWS_MAX}` : `${list.items.length}`;
  const rows = list.items.map((c) =>
    row(
      [c.client_id, c.user_id, c.remote_addr, c.state, clock(c.connected_at), c.streams.length, bytes(c.bytes_in),
        bytes(c.bytes_out), `${c.queue.messages} / ${bytes(c.queue.bytes)}`, c.errors],
      cut(c),
    ),
  );
  $("connections").tBodies[0].replaceChildren(...rows);
});

/** At most one call a second, the last of them not lost. */
function calm(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => ((waiting = false), work()), 1000);
  };
}
const errorsSoon = calm(loadErrors);
const connectionsSoon = calm(loadConnections);

const socket = subscribe(
  ["metrics", "connections", "errors", "alerts"],
  (message) => {
    if (message.type === "metrics") addPoint(message);
    else if (message.type === "errors") errorsSoon();
    else if (message.type === "connections") connectionsSoon();
    else if (message.type === "alert" || message.type === "status_update") loadParts();
  },
  (text, kind) => {
    $("live").textContent = text;
    $("live").className = `badge ${kind}`;
  },
);

function loadAll() {
  return Promise.all([loadHistory(), loadParts(), loadErrors(), loadConnections()]);
}

for (const button of document.querySelectorAll("nav button")) {
  button.onclick = () => {
    windowS = Number(button.dataset.window);
    document.querySelectorAll("nav button").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
    loadHistory();
    loadErrors();
  };
}
$("login").onsubmit = (event) => {
  event.preventDefault();
  token.set($("token").value.trim());
  $("token").value = "";
  socket.again();
  loadAll();
};
setInterval(() => windowS !== FINE_S && loadHistory(), HISTORY_EVERY_MS);
setInterval(() => document.hidden || (loadParts(), loadConnections()), PARTS_EVERY_MS);
loadAll();
