// The dashboard: the history over HTTP, then a point a second over the socket.

import { Denied, ask, subscription, token } from "./api.js";
import { drawCharts, drawErrors } from "./charts.js";
import { $, showBadge, showConnections, showErrorRows, showNow, showParts } from "./tables.js";

/** The window that has a point a second, and so grows with each. */
const FINE_S = 300;
const HISTORY_EVERY_MS = 15_000;
const PARTS_EVERY_MS = 5_000;
const ROWS_MAX = 200;

$("inside").hidden = false; // charts take their size from where they are
const draw = drawCharts($("charts"));
const drawTimeline = drawErrors($("errors-chart"));
$("inside").hidden = true;

let windowS = FINE_S;
let points = [];
let ownId = null;
let inside = false;
const problems = new Map();

function showProblems() {
  $("problems").hidden = problems.size === 0;
  $("problems").replaceChildren(...[...problems].map(([what, why]) => Object.assign(document.createElement("li"), { textContent: `${what}: ${why}` })));
}

/** Runs it, and shows what went wrong with it, until it goes well. Who may not ask is asked who he is. */
const guarded = (what, work) => async (...args) => {
  try {
    await work(...args);
    problems.delete(what);
  } catch (error) {
    if (error instanceof Denied) return leave(error);
    problems.set(what, error.message ?? error);
  }
  showProblems();
};

function show(to) {
  draw(points, to - windowS * 1000, to);
}

function addPoint(point) {
  showNow(point);
  if (windowS !== FINE_S) return;
  const at = Date.parse(point.at);
  points = points.filter((p) => at - Date.parse(p.at) <= FINE_S * 1000);
  points.push(point);
  show(at);
}

const loadHistory = guarded("History", async () => {
  const asked = windowS;
  const history = await ask(`monitoring/metrics?window_s=${asked}&format=json`);
  if (asked !== windowS) return;
  points = history.points;
  show(Date.parse(history.to));
  showNow(points.at(-1));
});

const loadParts = guarded("Health", async () => showParts(await ask("health/detailed")));

const loadErrors = guarded("Errors", async () => {
  const asked = windowS;
  const errors = await ask(`monitoring/errors?minutes=${Math.round(asked / 60)}&limit=${ROWS_MAX}`);
  if (asked !== windowS) return;
  drawTimeline(errors.timeline, errors.by_kind, Date.now() - asked * 1000, Date.now());
  showErrorRows(errors);
});

const disconnect = guarded("Disconnect", async (connection) => {
  await ask(`api/connections/${encodeURIComponent(connection.connection_id)}`, "DELETE");
  await loadConnections();
});

const loadConnections = guarded("Connections", async () => showConnections(await ask(`monitoring/connections?limit=${ROWS_MAX}`), ownId, disconnect));

/** At most one call a second, the last of them not lost. */
function calm(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => ((waiting = false), inside && work()), 1000);
  };
}
const errorsSoon = calm(loadErrors);
const connectionsSoon = calm(loadConnections);

const socket = subscription(
  ["metrics", "connections", "errors", "alerts"],
  (message) => {
    if (message.type === "metrics") addPoint(message);
    else if (message.type === "errors") errorsSoon();
    else if (message.type === "connections") connectionsSoon();
    else if (message.type === "alert" || message.type === "status_update") loadParts();
    else if (message.type === "connection_established") {
      ownId = message.connection_id;
      loadAll(); // after a drop, what was missed
    }
  },
  (text, kind) => showBadge("live", text, kind),
);

function loadAll() {
  return Promise.all([loadHistory(), loadParts(), loadErrors(), loadConnections()]);
}

/** Lets in whom the server lets in. */
async function enter() {
  try {
    showParts(await ask("health/detailed"));
  } catch (error) {
    if (error instanceof Denied) return leave(error);
    problems.set("Server", error.message);
    showProblems();
    setTimeout(enter, PARTS_EVERY_MS);
    return;
  }
  problems.clear();
  showProblems();
  inside = true;
  $("door").hidden = true;
  $("inside").hidden = $("health").hidden = false;
  $("sign-out").hidden = !token.get();
  document.querySelector("nav").hidden = false;
  socket.start();
}

/** Nothing is asked any more until there is another token. */
function leave(denied) {
  inside = false;
  socket.stop();
  problems.clear();
  showProblems();
  const had = token.get();
  token.set("");
  showBadge("live", "signed out", "");
  $("door-why").textContent = why(denied, had);
  $("door").hidden = false;
  $("health").hidden = $("inside").hidden = $("sign-out").hidden = document.querySelector("nav").hidden = true;
  $("token").focus();
}

function why(denied, had) {
  if (!denied) return "You are signed out.";
  return had || denied.status === 403 ? `Refused: ${denied.message}.` : "This server shows its figures to administrators only.";
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
  enter();
};
$("sign-out").onclick = () => leave(null);
// A page that is gone is no connection that may come back.
addEventListener("pagehide", socket.stop);
addEventListener("pageshow", (event) => event.persisted && inside && socket.start());
// Who comes back to it wants to see now what is now, and a network that is back need not be waited for.
for (const [target, event] of [[document, "visibilitychange"], [window, "online"]]) {
  target.addEventListener(event, () => inside && !document.hidden && socket.wake());
}
setInterval(() => inside && !document.hidden && loadHistory(), HISTORY_EVERY_MS);
setInterval(() => inside && !document.hidden && (loadParts(), loadConnections()), PARTS_EVERY_MS);

// A link may bring the token; it does not stay in the address.
const brought = /[#&]token=([^&]+)/.exec(location.hash)?.[1];
if (brought) {
  token.set(decodeURIComponent(brought));
  history.replaceState(null, "", location.pathname + location.search);
}
enter();
