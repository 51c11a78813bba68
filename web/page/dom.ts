// The few lines that stand in for a framework.

export function $<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id}`);
  return found as unknown as T;
}

type Props = Record<string, string | boolean | ((event: Event) => void)>;

/** An element: functions become listeners, `true` an empty attribute, the rest attributes. Text is only ever text. */
export function el<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A drawn icon. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  return svg;
}

export const ICONS = {
  play: "M8 5.5v13l11-6.5z",
  download: "M12 4v11m-4.5-4L12 15.5l4.5-4.5M5 19.5h14",
  remove: "M5 7h14M10 7V4.5h4V7m-7.5 0 1 12.5h9l1-12.5",
};

/** Sets text only where it differs: screen readers read what changes. */
export function say(element: HTMLElement, text: string, tone = ""): void {
  if (element.textContent !== text) element.textContent = text;
  if (element.dataset["tone"] !== tone) element.dataset["tone"] = tone;
}

/** Runs `draw` once in the next frame, however often it is asked. */
export function eachFrame(draw: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

/** A name for a stream, unlike all others; `title` reads it back. */
export function streamName(what: string): string {
  const made = what.normalize("NFKD").replace(/[^A-Za-z0-9_-]+/g, "_").slice(0, 50);
  return `${made || "file"}--${Math.random().toString(36).slice(2, 8)}`;
}

/** What a stream's name says to people. */
export function title(name: string): string {
  const what = /^(.*)--[a-z0-9]{1,6}$/.exec(name)?.[1];
  if (what === "mic") return "Microphone";
  return what?.replaceAll("_", " ") ?? "Stream";
}

export const clock = (s: number) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
export const seconds = (s: number) => `${s.toFixed(1)} s`;
export const dbfs = (linear: number) => Math.max(-60, 20 * Math.log10(Math.max(linear, 1e-6)));

export function size(bytes: number): string {
  if (bytes < 1_000_000) return `${Math.max(1, Math.round(bytes / 1_000))} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
