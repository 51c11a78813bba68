// How the page asks the server: HTTP with the token, and the socket for what is live.

const KEY = "voxgate.dashboard.token";

/** The administrator's token; empty where the server wants none. Kept for this tab only. */
export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

// The page is at ROOT/monitoring/dashboard, behind whatever prefix a proxy adds.
const root = new URL("../", location.href);

/** The server wants to know who asks, or knows it and lets him not in. */
export class Denied extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function ask(path, method = "GET") {
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  const answer = await fetch(new URL(path, root), { method, headers, cache: "no-store" });
  const body = answer.status === 204 ? null : await answer.json();
  const detail = body?.detail ?? `HTTP ${answer.status}`;
  if (answer.status === 401 || answer.status === 403) throw new Denied(answer.status, detail);
  if (!answer.ok) throw new Error(detail);
  return body;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const PING_EVERY_MS = 5_000;
/** So long a silence, though it was asked, means that the line is dead: nobody tells who walked out of a Wi-Fi, or slept. */
const DEAD_AFTER_MS = 10_000;
/** What was heard within so long says that the line lives. */
const FRESH_MS = 3_000;

/** A socket that stays open and subscribed from `start` to `stop`. `on(message)` gets every message, `state(text, kind)` how it is. */
export function subscription(events, on, state) {
  let socket, timer, heart, heardAt, wait = FIRST_WAIT_MS;
  const open = () => {
    clearTimeout(timer);
    const url = new URL("ws?client_id=dashboard", root);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const protocols = token.get() ? ["voxgate.v1", `bearer.${token.get()}`] : ["voxgate.v1"];
    const mine = (socket = new WebSocket(url, protocols));
    state("connecting", "");
    heardAt = Date.now();
    mine.onmessage = ({ data }) => {
      if (mine !== socket) return;
      heardAt = Date.now();
      const message = JSON.parse(data);
      if (message.type === "connection_established") {
        wait = FIRST_WAIT_MS;
        mine.send(JSON.stringify({ type: "subscribe_events", events }));
      } else if (message.type === "ping") {
        mine.send('{"type":"pong"}');
      } else if (message.type === "subscription_updated") {
        const denied = message.denied.length > 0;
        state(denied ? "not an administrator" : "live", denied ? "bad" : "good");
      }
      on(message);
    };
    mine.onclose = ({ code }) => mine === socket && gone(code);
  };
  const gone = (code) => {
    socket = undefined;
    // 4000 to 4099: do not come back by yourself.
    if (code >= 4000 && code < 4100) return state(`closed: ${code}`, "bad");
    state("reconnecting", "warn");
    timer = setTimeout(open, wait * (0.5 + Math.random() / 2));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  };
  const beat = () => {
    if (!socket) return;
    if (Date.now() - heardAt > DEAD_AFTER_MS) {
      socket.close();
      gone(1006);
    } else if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
  };
  const stop = () => {
    clearTimeout(timer);
    clearInterval(heart);
    const old = socket;
    socket = undefined;
    old?.close(1000);
  };
  const start = () => {
    stop();
    open();
    heart = setInterval(beat, PING_EVERY_MS);
  };
  /** There is a reason to look: begins anew, but where something was heard just now. */
  const wake = () => {
    if (!socket || Date.now() - heardAt > FRESH_MS) start();
  };
  return { start, stop, wake };
}
