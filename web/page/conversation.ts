// A conversation: who is there, who speaks, who types, what is written, and listening to those who speak.
import { type HistoryMessage, type Listener, Player, type VoxgateClient } from "../client/src/index.js";
import { $, el, say } from "./dom.js";
import { useSound } from "./phone.js";

/** Milliseconds without a key until one no longer types. */
const TYPING_MS = 3_000;
/** Messages of before that are shown. */
const HISTORY = 50;

interface Person {
  connections: number;
  streaming: boolean;
}

export class Conversation {
  #id: string | null = null;
  #people = new Map<string, Person>();
  #typing = new Map<string, ReturnType<typeof setTimeout>>();
  #iType: ReturnType<typeof setTimeout> | undefined;
  #listener: Listener | null = null;
  #player: Player | null = null;

  constructor(
    private readonly client: () => VoxgateClient,
    wanted: string | null,
  ) {
    const room = $<HTMLInputElement>("room");
    if (wanted) room.value = wanted;
    $("join").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#id) void this.leave();
      else void this.join(room.value);
    });
    $("write").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#write();
    });
    $("text").addEventListener("input", () => this.#type());
    $<HTMLInputElement>("listen").addEventListener("change", (event) => this.#listen((event.target as HTMLInputElement).checked));
  }

  get id(): string | null {
    return this.#id;
  }

  attach(client: VoxgateClient): void {
    const here = (id: string) => id === this.#id;
    client.on("presence_changed", (e) => {
      if (!here(e.conversation_id)) return;
      if (e.change === "left") this.#people.delete(e.member.client_id);
      else this.#people.set(e.member.client_id, { connections: e.connections, streaming: e.streaming });
      this.#showPeople();
    });
    client.on("conversation_joined", (e) => here(e.conversation_id) && this.#joined(e.members));
    client.on("message", (e) => {
      if (!here(e.conversation_id)) return;
      this.#types(e.from.client_id, false);
      this.#add(e.from.client_id, e.content, e.timestamp);
    });
    client.on("typing", (e) => here(e.conversation_id) && this.#types(e.from.client_id, e.active));
  }

  async join(id: string): Promise<void> {
    this.#id = id;
    try {
      const { last_message_seq: last } = await this.client().join(id);
      const history = await this.#history(id, Math.max(0, (last ?? 0) - HISTORY));
      if (this.#id !== id) return;
      $("messages").replaceChildren();
      history.forEach((m) => this.#add(m.from.client_id, m.content, m.sent_at));
    } catch (error) {
      if (this.#id !== id) return;
      this.#id = null;
      say($("room-hint"), error instanceof Error ? error.message : "It could not be joined.", "bad");
    }
    this.#show();
  }

  async leave(): Promise<void> {
    const id = this.#id;
    this.#id = null;
    this.#listen(false);
    this.#people.clear();
    this.#typing.forEach((t) => clearTimeout(t));
    this.#typing.clear();
    this.#show();
    if (id) await this.client().leave(id).catch(() => {});
  }

  /** What was said after a message, the last of it. */
  async #history(id: string, afterSeq: number): Promise<HistoryMessage[]> {
    const found: HistoryMessage[] = [];
    let after = afterSeq;
    for (;;) {
      const page = await this.client().request({ type: "history_request", conversation_id: id, after_seq: after, limit: HISTORY }, "history");
      found.push(...page.messages);
      const last = page.messages.at(-1);
      if (!page.more || !last) return found.slice(-HISTORY);
      after = last.message_seq;
    }
  }

  #joined(members: { client_id: string; connections: number; streaming: boolean }[]): void {
    this.#people = new Map(members.map((m) => [m.client_id, m]));
    this.#show();
  }

  #show(): void {
    const inside = this.#id !== null;
    $<HTMLInputElement>("room").readOnly = inside;
    say($("join-button"), inside ? "Leave" : "Join");
    $("join-button").classList.toggle("second", inside);
    $("write").hidden = !inside;
    $("listen-row").hidden = !inside;
    if (inside || $("room-hint").dataset["tone"] !== "bad") say($("room-hint"), "Who is in it can read what you write, and listen while you speak.");
    if (!inside) $("messages").replaceChildren();
    this.#showPeople();
    this.#showTyping();
  }

  #showPeople(): void {
    const me = this.client().hello?.client_id;
    const people = [...this.#people].sort(([a], [b]) => a.localeCompare(b));
    $("people").replaceChildren(
      ...people.map(([name, p]) =>
        el("li", { "data-speaking": p.streaming, "data-name": name }, name === me ? `${name} (you)` : name, ...(p.streaming ? [el("span", { class: "sr" }, ", speaking")] : [])),
      ),
    );
  }

  #add(from: string, content: unknown, at: string): HTMLLIElement {
    const text = typeof content === "string" ? content : ((content as { text?: unknown } | null)?.text ?? JSON.stringify(content));
    const mine = from === this.client().hello?.client_id;
    const time = new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    const item = el("li", { "data-mine": mine }, String(text), el("small", {}, mine ? time : `${from}, ${time}`));
    const log = $("log");
    $("messages").append(item);
    log.scrollTop = log.scrollHeight;
    return item;
  }

  async #write(): Promise<void> {
    const input = $<HTMLInputElement>("text");
    const text = input.value.trim();
    if (!text || !this.#id) return;
    input.value = "";
    this.#stopTyping();
    const item = this.#add(this.client().hello?.client_id ?? "", { text }, new Date().toISOString());
    item.dataset["mine"] = item.dataset["waits"] = "";
    try {
      await this.client().say(this.#id, { text });
    } catch (error) {
      item.append(el("small", {}, `not sent: ${error instanceof Error ? error.message : "refused"}`));
    }
    delete item.dataset["waits"];
  }

  #type(): void {
    if (!this.#id) return;
    if (!this.#iType) this.client().send({ type: "typing", conversation_id: this.#id, active: true });
    clearTimeout(this.#iType);
    this.#iType = setTimeout(() => this.#stopTyping(), TYPING_MS);
  }

  #stopTyping(): void {
    if (!this.#iType) return;
    clearTimeout(this.#iType);
    this.#iType = undefined;
    if (this.#id) this.client().send({ type: "typing", conversation_id: this.#id, active: false });
  }

  #types(name: string, active: boolean): void {
    clearTimeout(this.#typing.get(name));
    this.#typing.delete(name);
    // Should the word that he stopped be lost, he stops all the same.
    if (active) this.#typing.set(name, setTimeout(() => this.#types(name, false), 3 * TYPING_MS));
    this.#showTyping();
  }

  #showTyping(): void {
    const names = [...this.#typing.keys()];
    say($("typing"), names.length === 0 ? "" : names.length > 2 ? "several people write…" : `${names.join(" and ")} ${names.length === 1 ? "writes" : "write"}…`);
  }

  #listen(on: boolean): void {
    $<HTMLInputElement>("listen").checked = on;
    this.#listener?.stop();
    this.#player?.close();
    this.#listener = this.#player = null;
    useSound({ listening: on && this.#id !== null });
    if (!on || !this.#id) return;
    const player = (this.#player = new Player());
    const listener = (this.#listener = this.client().listen({ conversationId: this.#id }));
    listener.on("audio", (heard) => {
      // One's own voice, late, is no pleasure.
      if (heard.stream.from.client_id === this.client().hello?.client_id) return;
      player.add(heard);
      document.body.dataset["heard"] = String(Number(document.body.dataset["heard"] ?? 0) + heard.audio.samples.length);
    });
    listener.on("stopped", (error) => {
      this.#listen(false);
      if (error) say($("typing"), error.message);
    });
  }
}
