// Files: dropped or chosen, streamed as fast as they sound or as fast as the line is.
import type { VoxgateClient } from "../client/src/index.js";
import { $, clock, el, say, size, streamName } from "./dom.js";

export interface FilesHost {
  client(): VoxgateClient;
  conversation(): string | null;
  recorded(): void;
}

/** Milliseconds between pieces of a file that is sent in its own time. */
const STEP_MS = 100;
/** Bytes read at once. */
const READ_BYTES = 256 * 1024;
/** Bytes kept of a file: it can be read again, so little is enough. */
const RING_BYTES = 4 * 1024 * 1024;

export class Files {
  constructor(private readonly host: FilesHost) {
    const card = $("drop");
    const chosen = $<HTMLInputElement>("file");
    const over = (on: boolean) => (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      if (on) card.dataset["over"] = "";
      else delete card.dataset["over"];
    };
    // Anywhere on the page: one who misses the well must not leave the page.
    document.addEventListener("dragover", over(true));
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false)(event));
    document.addEventListener("drop", (event) => {
      over(false)(event);
      for (const file of event.dataTransfer?.files ?? []) void this.send(file);
    });
    chosen.addEventListener("change", () => {
      for (const file of chosen.files ?? []) void this.send(file);
      chosen.value = "";
    });
  }

  async send(file: File): Promise<void> {
    const inTime = $("drop").querySelector<HTMLInputElement>("input[name=pace]:checked")?.value === "time";
    const lengthS = inTime ? await playingTime(file) : null;
    const conversationId = this.host.conversation();
    const stream = this.host.client().openStream({
      name: streamName(file.name.replace(/\.[^.]*$/, "")),
      format: { encoding: "auto" },
      ackMs: 200,
      ringBytes: RING_BYTES,
      ...(conversationId && { conversationId }),
    });
    const sent = el("i");
    const acked = el("i");
    const told = el("span", { class: "quiet" }, lengthS ? clock(lengthS) : size(file.size));
    const bar = el("div", { class: "bar", role: "progressbar", "aria-label": file.name, "aria-valuemin": "0", "aria-valuemax": "100" }, sent, acked);
    $("transfers").prepend(el("li", {}, el("div", { class: "names" }, el("span", {}, file.name), told), bar));
    const part = (bytes: number) => Math.min(1, bytes / Math.max(1, file.size));
    stream.on("progress", (p) => {
      sent.style.transform = `scaleX(${part(p.sent)})`;
      acked.style.transform = `scaleX(${part(p.acknowledged)})`;
      bar.setAttribute("aria-valuenow", String(Math.round(100 * part(p.acknowledged))));
    });
    let fault = "";
    stream.on("error", (e) => (fault = e.message));
    try {
      await pour(file, lengthS, (bytes) => stream.write(bytes));
    } catch {
      // it ended before: why is told below
    }
    const ended = await stream.end();
    if (ended?.reason === "end") {
      say(told, `${clock(ended.duration_ms / 1_000)}, kept`);
      acked.style.transform = "scaleX(1)";
      bar.setAttribute("aria-valuenow", "100");
    } else say(told, fault || "ended early", "bad");
    this.host.recorded();
  }
}

/** Hands a file out in pieces: evenly over `lengthS`, or at once. */
async function pour(file: File, lengthS: number | null, write: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const began = performance.now();
  for (let at = 0; at < file.size; ) {
    let upTo = Math.min(file.size, at + READ_BYTES);
    if (lengthS) {
      const due = Math.ceil((file.size * (performance.now() - began + STEP_MS)) / (lengthS * 1_000));
      upTo = Math.min(upTo, Math.max(at, due));
    }
    if (upTo > at) await write(new Uint8Array(await file.slice(at, upTo).arrayBuffer()));
    at = upTo;
    if (lengthS && at < file.size) await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}

/** Seconds a file plays, where the browser can tell. */
function playingTime(file: File): Promise<number | null> {
  const PATIENCE_MS = 3_000;
  const url = URL.createObjectURL(file);
  const audio = new Audio();
  audio.preload = "metadata";
  return new Promise<number | null>((resolve) => {
    audio.ondurationchange = () => {
      if (Number.isFinite(audio.duration) && audio.duration > 0) resolve(audio.duration);
      // What a MediaRecorder made has no length written in it: going to its end finds out.
      else if (audio.duration === Infinity) audio.currentTime = Number.MAX_SAFE_INTEGER;
    };
    audio.onerror = () => resolve(null);
    setTimeout(() => resolve(null), PATIENCE_MS);
    audio.src = url;
  }).finally(() => URL.revokeObjectURL(url));
}
