// What was kept: played, downloaded, deleted.
import { $, ICONS, clock, el, icon, say, size, title } from "./dom.js";

interface Recording {
  id: string;
  state: string;
  stream_id: string;
  client_id: string;
  sample_rate: number;
  samples: number;
  bytes: number;
  created_at_ms: number;
}

/** Recordings shown, the newest first. */
const SHOWN = 50;
/** Recordings of one answer. */
const PAGE = 500;

export class Recordings {
  readonly #player = $<HTMLAudioElement>("player");
  #playing = "";
  /** What was read, by id; and where to read on. */
  #known = new Map<string, Recording>();
  #rows = new Map<string, HTMLLIElement>();

  constructor(private readonly token: () => string) {
    $("refresh").addEventListener("click", () => void this.refresh());
    this.#player.addEventListener("ended", () => this.#show());
  }

  async refresh(): Promise<void> {
    try {
      const known = new Map<string, Recording>();
      let after: string | null = null;
      do {
        const query = new URLSearchParams({ limit: String(PAGE), ...(after && { after }) });
        const response = await fetch(`api/recordings?${query}`, { headers: this.#headers() });
        if (!response.ok) throw new Error(await problem(response));
        const { items, next } = (await response.json()) as { items: Recording[]; next: string | null };
        items.forEach((r) => known.set(r.id, r));
        after = next;
      } while (after);
      this.#known = known;
      this.#show();
    } catch (error) {
      say($("recordings-note"), error instanceof Error ? error.message : "The list could not be read.");
      $("recordings-note").hidden = false;
    }
  }

  #headers(): HeadersInit {
    const token = this.token();
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  /** An address that an `<audio>` or a link can use: they set no header. */
  #address(id: string): string {
    const token = this.token();
    return `api/recordings/${id}.wav${token ? `?token=${encodeURIComponent(token)}` : ""}`;
  }

  #show(): void {
    const newest = [...this.#known.values()].sort((a, b) => b.created_at_ms - a.created_at_ms).slice(0, SHOWN);
    $("recordings-note").hidden = newest.length > 0;
    say($("recordings-note"), "Nothing recorded yet.");
    // What stands there already stays what it is: somebody's finger or focus may be on it.
    const list = $("recordings");
    const rows = new Map<string, HTMLLIElement>();
    newest.forEach((r, i) => {
      const key = [r.id, r.state, r.samples, r.bytes, this.token()].join();
      const row = this.#rows.get(key) ?? this.#row(r);
      rows.set(key, row);
      if (this.#playing === r.id) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
    });
    while (list.children.length > newest.length) list.lastElementChild?.remove();
    this.#rows = rows;
  }

  #row(r: Recording): HTMLLIElement {
    const at = new Date(r.created_at_ms);
    const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString(undefined, { day: "numeric", month: "short" })}, `;
    const when = day + at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    const name = `${title(r.stream_id)}, ${when}`;
    const running = r.state === "recording";
    const play = el("button", { class: "icon play", type: "button", "aria-label": `Play: ${name}`, click: () => this.#play(r.id) }, icon(ICONS.play));
    const load = el("a", { class: "icon", href: this.#address(r.id), download: `voxgate-${r.id}.wav`, "aria-label": `Download: ${name}` }, icon(ICONS.download));
    const remove = el("button", { class: "icon", type: "button", "aria-label": `Delete: ${name}`, click: () => void this.#delete(r.id, name) }, icon(ICONS.remove));
    remove.disabled = running;
    const what = running ? "still running" : `${clock(r.samples / Math.max(1, r.sample_rate))} · ${size(r.bytes)}`;
    const words = el("div", {}, el("strong", {}, title(r.stream_id)), el("small", {}, `${when} · ${what} · ${r.client_id}`));
    return el("li", { "data-id": r.id }, play, words, el("div", { class: "acts" }, load, remove));
  }

  #play(id: string): void {
    this.#playing = id;
    this.#player.hidden = false;
    this.#player.src = this.#address(id);
    // Another one was asked for meanwhile, or the browser cannot: the latter is told.
    this.#player.play().catch((error: Error) => {
      if (error.name === "AbortError" || this.#playing !== id) return;
      say($("recordings-note"), "This browser does not play it. It can be downloaded.", "bad");
      $("recordings-note").hidden = false;
    });
    this.#show();
  }

  async #delete(id: string, name: string): Promise<void> {
    if (!confirm(`Delete this recording? ${name}`)) return;
    const response = await fetch(`api/recordings/${id}`, { method: "DELETE", headers: this.#headers() });
    if (!response.ok) return void say($("recordings-note"), await problem(response));
    if (this.#playing === id) {
      this.#player.removeAttribute("src");
      this.#player.hidden = true;
    }
    await this.refresh();
  }
}

async function problem(response: Response): Promise<string> {
  const body = (await response.json().catch(() => ({}))) as { detail?: string };
  return body.detail ?? `The server answered ${response.status}.`;
}
