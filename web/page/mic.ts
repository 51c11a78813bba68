// The button: starts and stops the microphone, and shows what became of every second of it.
import { type AudioStream, type Capture, type CaptureState, type VoxgateClient, captureMicrophone, microphones } from "../client/src/index.js";
import { $, clock, eachFrame, say, seconds, streamName } from "./dom.js";
import { Meter } from "./meter.js";
import { Awake, useSound } from "./phone.js";
import { Waveform } from "./waveform.js";

export interface MicHost {
  client(): VoxgateClient;
  conversation(): string | null;
  rawVoice(): boolean;
  /** Whether few bytes matter more than every one of them. */
  savesData(): boolean;
  recorded(): void;
}

export class Microphone {
  readonly #wave = new Waveform($("wave"));
  readonly #meter = new Meter($("level"), $("halo"));
  readonly #card = $("microphone");
  readonly #button = $<HTMLButtonElement>("talk");
  readonly #device = $<HTMLSelectElement>("device");
  #capture: Capture | null = null;
  #stream: AudioStream | null = null;
  #busy = false;
  /** Bytes of a second; null where only the server knows. */
  #rate: number | null = null;
  #began = 0;
  /** Seconds, where bytes do not tell. */
  #decoded = 0;
  /** Where, on the waveform, the server's stream of now began. */
  #base = 0;
  /** Whether the device gives sound; when it began to give silence, and for how long it did, in milliseconds. */
  #gives: CaptureState = "live";
  #mutedAt = 0;
  #mutedMs = 0;
  /** When the first sound came, by the clock, and the milliseconds of all that came: they part where the device, or all of the machine, slept. */
  #firstAt = 0;
  #heardMs = 0;
  #heardAt = 0;
  /** Why it was stopped, where it was not the person. */
  #why = "";
  readonly #awake = new Awake();
  readonly #show = eachFrame(() => this.#facts());

  constructor(private readonly host: MicHost) {
    this.#button.addEventListener("click", () => void this.toggle());
    document.addEventListener("keydown", (event) => {
      const typing = (event.target as HTMLElement).closest("input, select, textarea, dialog");
      if (event.key.toLowerCase() === "m" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) void this.toggle();
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.#devices());
    this.#device.addEventListener("change", () => void this.#changeDevice());
    void this.#devices();
    this.#meter.clear();
  }

  get isOn(): boolean {
    return this.#capture !== null;
  }

  async toggle(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      if (this.#capture) await this.#stop();
      else await this.#start();
    } catch (error) {
      say($("say"), reason(error), "bad");
      this.#off();
    } finally {
      this.#busy = false;
    }
    if (this.#capture && this.#why) await this.#unplugged(); // it went while it was being opened
  }

  /** Events of the server about the stream. */
  listen(client: VoxgateClient): void {
    const mine = (name: string) => name === this.#stream?.name;
    client.on("speech_started", (e) => mine(e.stream_id) && this.#wave.voiceStarted(this.#base + e.at_ms / 1_000));
    client.on("speech_ended", (e) => mine(e.stream_id) && this.#wave.voiceEnded(this.#base + e.start_ms / 1_000, this.#base + e.end_ms / 1_000));
    client.on("audio_level", (e) => {
      if (!mine(e.stream_id) || this.#capture?.method !== "recorder") return;
      this.#wave.add(10 ** (e.peak_dbfs / 20), 0.1);
      this.#meter.show(10 ** (e.peak_dbfs / 20), 10 ** (e.rms_dbfs / 20));
    });
    client.on("state", () => this.#show());
  }

  async #start(): Promise<void> {
    say($("say"), "Asking for the microphone…");
    useSound({ speaking: true });
    this.#gives = "live";
    this.#mutedMs = this.#heardMs = this.#firstAt = 0;
    this.#rate = null;
    this.#wave.reset();
    this.#why = "";
    const plain = this.host.rawVoice() ? { echoCancellation: false, noiseSuppression: false, autoGainControl: false } : {};
    const early: Uint8Array[] = [];
    const capture = await captureMicrophone(
      { deviceId: this.#device.value, constraints: plain, workletUrl: "page/worklet.js", encoding: this.host.savesData() ? "opus" : "pcm_s16le" },
      ({ bytes, level, ms }) => {
        if (level && ms) {
          this.#firstAt ||= Date.now() - ms;
          this.#heardMs += ms;
          this.#heardAt = Date.now();
          this.#wave.add(level.peak, ms / 1_000);
          this.#meter.show(level.peak, Math.sqrt(level.square));
        }
        if (this.#stream) this.#stream.push(bytes);
        else early.push(bytes);
        this.#show();
      },
      { ended: () => void this.#unplugged(), state: (state) => this.#given(state) },
    );
    const { encoding, sample_rate: hz, channels } = capture.format;
    this.#rate = hz && encoding !== "opus" ? hz * (channels ?? 1) * 2 : null;
    this.#base = this.#decoded = 0;
    this.#began = performance.now();
    this.#capture = capture;
    const conversationId = this.host.conversation();
    // What a recorder makes shows its level only to who decodes it.
    if (capture.method === "recorder") this.host.client().subscribe("levels").catch(() => {});
    const stream = this.host.client().openStream({ name: streamName("mic"), format: capture.format, ackMs: 100, ...(conversationId && { conversationId }) });
    this.#stream = stream;
    early.forEach((bytes) => stream.push(bytes));
    stream.on("progress", () => this.#show());
    stream.on("acknowledged", (e) => (this.#decoded = this.#base + e.decoded_ms / 1_000));
    stream.on("continued", ({ from }) => (this.#base = this.#rate ? from / this.#rate : this.#decoded));
    stream.on("error", (e) => say($("say"), e.message, "bad"));
    void stream.ended.then((ended) => this.#ended(stream, ended !== null));
    this.#awake.wanted = true;
    this.#card.dataset["on"] = "";
    this.#button.setAttribute("aria-pressed", "true");
    say($("talk-label"), "Stop the microphone");
    void this.#devices();
  }

  async #stop(): Promise<void> {
    const stream = this.#stream;
    await this.#capture?.stop();
    this.#off();
    void stream?.end();
    this.#show();
  }

  #off(): void {
    this.#capture = null;
    this.#awake.wanted = false;
    useSound({ speaking: false });
    this.#meter.clear();
    delete this.#card.dataset["on"];
    this.#button.setAttribute("aria-pressed", "false");
    say($("talk-label"), "Start the microphone");
  }

  async #unplugged(): Promise<void> {
    this.#why = "The microphone is gone. ";
    if (!this.#capture || this.#busy) return;
    this.#busy = true;
    await this.#stop().finally(() => (this.#busy = false));
  }

  /** The device gives sound, or gives it no more, as phones do it in a call or behind a locked screen. */
  #given(state: CaptureState): void {
    const now = Date.now();
    if (this.#gives === "muted") this.#mutedMs += now - this.#mutedAt;
    this.#mutedAt = now;
    this.#gives = state;
    this.#show();
  }

  /** How long nothing was heard; nothing where that was but a moment. */
  #away(): string {
    const passedMs = this.#heardAt - this.#firstAt;
    const missedMs = this.#mutedMs + (this.#firstAt ? passedMs - this.#heardMs : 0);
    // No device's clock is exact, nor does its sound arrive evenly.
    const doubtMs = 1_000 + passedMs / 1_000;
    return missedMs < doubtMs ? "" : `for ${seconds(missedMs / 1_000)} the device gave no sound`;
  }

  async #changeDevice(): Promise<void> {
    if (!this.#capture) return;
    await this.toggle();
    await this.toggle();
  }

  #ended(stream: AudioStream, known: boolean): void {
    this.#show();
    this.host.recorded();
    if (this.#stream !== stream) return;
    if (this.#capture) {
      // The server ended it, not the person.
      this.#capture.stop().catch(() => {});
      this.#off();
      say($("say"), "The server ended the stream. What it acknowledged is kept.", "bad");
      return;
    }
    const away = this.#away();
    const kept = known ? `Kept: ${seconds(this.#times().acked)}, all of it${away && `; ${away}`}.` : "The stream is over.";
    say($("say"), this.#why + kept, this.#why && "bad");
  }

  #times(): { pushed: number; acked: number; lost: number } {
    const p = this.#stream?.progress ?? { pushed: 0, acknowledged: 0, refused: 0 };
    const rate = this.#rate;
    if (rate) return { pushed: p.pushed / rate, acked: p.acknowledged / rate, lost: p.refused / rate };
    const heard = this.#heardMs > 0 ? this.#heardMs / 1_000 : null;
    const pushed = heard ?? (this.#capture ? (performance.now() - this.#began) / 1_000 : this.#decoded);
    return { pushed, acked: p.acknowledged >= p.pushed ? pushed : Math.min(pushed, this.#decoded), lost: 0 };
  }

  #facts(): void {
    const { pushed, acked, lost } = this.#times();
    const waiting = Math.max(0, pushed - acked);
    this.#wave.acknowledge(acked);
    say($("clock"), clock(pushed));
    say($("acked"), seconds(acked));
    say($("waiting"), seconds(waiting), waiting > 1 ? "held" : "");
    say($("lost"), seconds(lost), lost > 0 ? "bad" : "");
    if (!this.#stream || this.#stream.isOver) return;
    const away = this.host.client().state.name !== "open";
    if (lost > 0) say($("say"), "The network is away for too long: the newest sound finds no room.", "bad");
    else if (this.#capture && this.#gives === "interrupted") say($("say"), "The device has taken the microphone away: nothing is heard now. What it gave is kept.", "bad");
    else if (this.#capture && this.#gives === "muted") say($("say"), "The device has muted the microphone: only silence is heard now.", "bad");
    else if (away) say($("say"), "The network is away. Nothing is lost: what you say is kept here until it is back.", "held");
    else if (this.#capture && waiting > 1) say($("say"), "Back: what was kept is being sent.", "held");
    else if (this.#capture) say($("say"), [this.#capture.label || "Listening", this.#away()].filter(Boolean).join("; "));
    else say($("say"), `${this.#why}Sending the rest…`, this.#why && "bad");
  }

  async #devices(): Promise<void> {
    const found = (await microphones()).filter((d) => d.deviceId && d.deviceId !== "default" && d.label);
    const chosen = this.#device.value;
    this.#device.replaceChildren(new Option("The system’s default", ""), ...found.map((d) => new Option(d.label, d.deviceId)));
    this.#device.value = found.some((d) => d.deviceId === chosen) ? chosen : "";
  }
}

function reason(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError") return "This page was not allowed to use the microphone. The browser’s address bar has the permission.";
  if (name === "NotFoundError") return "No microphone was found.";
  if (name === "OverconstrainedError") return "The chosen microphone is not there. Choose another.";
  if (name === "NotReadableError") return "Another program holds the microphone.";
  return error instanceof Error ? error.message : "The microphone could not be opened.";
}

