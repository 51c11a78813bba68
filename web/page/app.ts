// The microphone page: one connection, and the cards that use it.
import { type State, VoxgateClient } from "../client/src/index.js";
import { Conversation } from "./conversation.js";
import { $, say } from "./dom.js";
import { Files } from "./files.js";
import { Microphone } from "./mic.js";
import { Recordings } from "./recordings.js";

const query = new URLSearchParams(location.search);
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** What is remembered: the name in this browser, the token only as long as the tab. */
const memory = {
  get name(): string {
    const asked = query.get("client_id") ?? localStorage.getItem("voxgate.name") ?? "";
    if (NAME.test(asked)) return asked;
    const made = `guest-${Math.random().toString(36).slice(2, 7)}`;
    localStorage.setItem("voxgate.name", made);
    return made;
  },
  set name(name: string) {
    localStorage.setItem("voxgate.name", name);
    query.delete("client_id");
  },
  get token(): string {
    return sessionStorage.getItem("voxgate.token") ?? "";
  },
  set token(token: string) {
    if (token) sessionStorage.setItem("voxgate.token", token);
    else sessionStorage.removeItem("voxgate.token");
  },
  get rawVoice(): boolean {
    return localStorage.getItem("voxgate.raw") === "1";
  },
  set rawVoice(on: boolean) {
    localStorage.setItem("voxgate.raw", on ? "1" : "0");
  },
  get savesData(): boolean {
    return localStorage.getItem("voxgate.opus") === "1";
  },
  set savesData(on: boolean) {
    localStorage.setItem("voxgate.opus", on ? "1" : "0");
  },
};

// A token in the fragment reaches no server; it is taken and wiped off the address.
const fragment = new URLSearchParams(location.hash.slice(1)).get("token");
if (fragment) {
  memory.token = fragment;
  history.replaceState(null, "", location.pathname + location.search);
}

let client: VoxgateClient;
const wanted = query.get("conversation_id");
const conversation = new Conversation(() => client, wanted && NAME.test(wanted) ? wanted : null);
const recordings = new Recordings(() => memory.token);
const host = {
  client: () => client,
  conversation: () => conversation.id,
  rawVoice: () => memory.rawVoice,
  savesData: () => memory.savesData,
  recorded: () => void recordings.refresh(),
};
const microphone = new Microphone(host);
new Files(host);

function showState(state: State): void {
  $("line").dataset["state"] = state.name;
  const words: Record<State["name"], string> = {
    idle: "Not connected",
    connecting: "Connecting…",
    open: "Connected",
    waiting: "Reconnecting…",
    closed: state.name === "closed" ? state.reason || "Closed" : "Closed",
  };
  say($("line-text"), words[state.name]);
  if (state.name !== "open") say($("round-trip"), "");
  if (state.name === "closed" && state.code === 4001) openSettings();
}

function connect(): void {
  client = new VoxgateClient({
    url: new URL("ws", location.href).href,
    clientId: memory.name,
    events: ["speech"],
    ...(memory.token && { token: memory.token }),
  });
  client.on("state", showState);
  client.on("round_trip", (ms) => say($("round-trip"), `${ms} ms`));
  client.on("connection_established", (hello) => say($("client-id"), hello.client_id));
  microphone.listen(client);
  conversation.attach(client);
  client.connect().then(
    () => {
      void recordings.refresh();
      if (wanted && NAME.test(wanted) && !conversation.id) void conversation.join(wanted);
    },
    () => {}, // the state says why
  );
}

const settings = $<HTMLDialogElement>("settings");
function openSettings(): void {
  $<HTMLInputElement>("name").value = memory.name;
  $<HTMLInputElement>("token").value = memory.token;
  $<HTMLInputElement>("raw-voice").checked = memory.rawVoice;
  $<HTMLInputElement>("saves-data").checked = memory.savesData;
  if (!settings.open) settings.showModal();
}
$("saves-data-row").hidden = typeof AudioEncoder !== "function";
$("settings-open").addEventListener("click", openSettings);
settings.addEventListener("close", () => {
  if (settings.returnValue !== "save") return;
  memory.rawVoice = $<HTMLInputElement>("raw-voice").checked;
  memory.savesData = $<HTMLInputElement>("saves-data").checked;
  const name = $<HTMLInputElement>("name").value;
  const token = $<HTMLInputElement>("token").value.trim();
  const same = name === memory.name && token === memory.token && client.state.name !== "closed";
  if (NAME.test(name)) memory.name = name;
  memory.token = token;
  if (same) return;
  // Another name is another connection; the sound of the old one is ended first.
  void (async () => {
    if (microphone.isOn) await microphone.toggle();
    await conversation.leave();
    client.close();
    connect();
  })();
});
addEventListener("beforeunload", (event) => {
  if (microphone.isOn) event.preventDefault();
});

connect();
