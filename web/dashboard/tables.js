// What the page shows beside the charts: figures of now, parts, errors and connections. Knows the server's answers, not how they were got.

import { bytes, moment, number, percent, us } from "./words.js";

export const $ = (id) => document.getElementById(id);
const make = (tag, text, className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

const LEVELS = { healthy: "good", closed: "good", off: "", degraded: "warn", half_open: "warn", unhealthy: "bad", critical: "bad", open: "bad" };

export function showBadge(id, text, kind = LEVELS[text] ?? "") {
  $(id).textContent = text;
  $(id).className = `badge ${kind}`;
}

const NOW = [
  ["Connections", (p) => number(p.connections)],
  ["Streams", (p) => number(p.streams)],
  ["Audio s/s", (p) => number(p.audio_s_per_s)],
  ["Ack p99", (p) => us(p.ack_p99_us)],
  ["In", (p) => `${bytes(p.bytes_in_per_s)}/s`],
  ["Out", (p) => `${bytes(p.bytes_out_per_s)}/s`],
  ["Errors/s", (p) => number(p.errors_per_s)],
  ["Queued", (p) => bytes(p.queue_bytes)],
  ["Processor", (p) => percent(p.process_cpu_percent)],
  ["Memory", (p) => bytes(p.process_memory_bytes)],
];
const cells = NOW.map(([label]) => {
  const box = $("now").appendChild(document.createElement("div"));
  box.appendChild(make("dt", label));
  return box.appendChild(make("dd", "–"));
});

export function showNow(point) {
  if (point) NOW.forEach(([, write], n) => (cells[n].textContent = write(point)));
}

const badge = (name, state) => make("li", `${name}: ${state}`.replaceAll("_", " "), `badge ${LEVELS[state] ?? ""}`);

/** `/health/detailed`. */
export function showParts(now) {
  showBadge("health", now.status);
  const parts = Object.entries(now.components).map(([name, part]) => badge(name, part.status));
  const breakers = now.circuit_breakers.map((b) => badge(`breaker ${b.name}`, b.state));
  $("parts").replaceChildren(...parts, ...breakers);
  $("findings").replaceChildren(...now.findings.map((f) => make("li", `${f.part} is ${f.status}: ${f.reason}`)));
}

/** A row; a value that is a number stands at the right, as its column's head does. */
function row(values) {
  const tr = document.createElement("tr");
  for (const value of values) {
    if (value instanceof Node) tr.appendChild(document.createElement("td")).appendChild(value);
    else tr.appendChild(make("td", value?.of ?? value ?? "–", value?.of === undefined ? "" : "n"));
  }
  return tr;
}
const right = (of) => ({ of });

/** What of `/monitoring/errors` is a table. */
export function showErrorRows(errors) {
  $("errors-count").textContent = errors.total > 0 ? number(errors.total) : "";
  $("errors").tBodies[0].replaceChildren(...errors.recent.map((e) => row([moment(e.at), e.kind, e.severity, e.part, e.message, e.connection_id])));
}

/** `/monitoring/connections`. `own`: the id of this page's, which is not for cutting; `cut(connection)` cuts another. */
export function showConnections(list, own, cut) {
  $("connections-count").textContent = list.next ? `the first ${list.items.length}` : `${list.items.length}`;
  // Who works with the keyboard keeps his place though the rows are new.
  const focused = document.activeElement?.dataset?.connection;
  $("connections").tBodies[0].replaceChildren(...list.items.map((c) => connectionRow(c, c.connection_id === own, cut)));
  if (focused) document.querySelector(`[data-connection="${CSS.escape(focused)}"]`)?.focus();
}

function connectionRow(c, isOwn, cut) {
  return row([
    c.client_id, c.user_id, c.remote_addr, c.state, moment(c.connected_at), right(number(c.streams.length)), right(bytes(c.bytes_in)), right(bytes(c.bytes_out)),
    c.queue.messages > 0 ? `${number(c.queue.messages)}, ${bytes(c.queue.bytes)}` : "empty", right(number(c.errors)), isOwn ? make("span", "this page", "quiet") : button(c, cut),
  ]);
}

function button(c, cut) {
  const made = make("button", "Disconnect");
  made.type = "button";
  made.dataset.connection = c.connection_id;
  made.setAttribute("aria-label", `Disconnect ${c.client_id}`);
  made.onclick = () => confirm(`Disconnect ${c.client_id}?`) && cut(c);
  return made;
}
