// The charts: what is drawn of which field, and how. Knows points, not where they come from.
/* global uPlot */

import { bytes, clock, ms, number, percent, us } from "./words.js";

const COLOURS = ["#0d9488", "#ea580c", "#7c6bd6", "#2f7fd6", "#d6455d", "#a3851a", "#8a8f98"];
const HEIGHT = 160;
/** Ticks of bytes are round where bytes are counted. */
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, n) => 2 ** n);

/** Every chart: title, how a value is written, and label and field of each line. */
const CHARTS = [
  ["Connections", number, ["connected", "connections"], ["recovering", "recovering"]],
  ["Streams", number, ["open", "streams"], ["being recorded", "recordings_open"]],
  ["Audio decoded, seconds a second", number, ["audio", "audio_s_per_s"]],
  ["Acknowledgement latency", us, ["p50", "ack_p50_us"], ["p95", "ack_p95_us"], ["p99", "ack_p99_us"]],
  ["Bytes a second", bytes, ["in", "bytes_in_per_s"], ["out", "bytes_out_per_s"]],
  ["Messages a second", number, ["in", "messages_in_per_s"], ["out", "messages_out_per_s"]],
  ["Waiting in outbound queues", bytes, ["bytes", "queue_bytes"]],
  ["Audio waiting and dropped", ms, ["waiting", "buffered_ms"], ["dropped a second", "dropped_ms_per_s"]],
  ["Errors a second", number, ["errors", "errors_per_s"]],
  ["Worker lag and messages", us, ["lag", (p) => p.lag_max_ms * 1000], ["message p95", "processing_p95_us"]],
  ["Processor", percent, ["this process, of a core", "process_cpu_percent"], ["machine", "system_cpu_percent"]],
  ["Memory", bytes, ["process", "process_memory_bytes"], ["reserved by streams", "stream_memory_bytes"]],
];

const seconds = (at) => Date.parse(at) / 1000;

/** Ticks of time, in seconds: no window is shorter than five minutes. */
const TIMES = [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600];

const axis = (more) => ({
  stroke: () => getComputedStyle(document.body).color,
  font: "11px system-ui, sans-serif",
  grid: { stroke: "#8883", width: 1 },
  ticks: { show: false },
  gap: 6,
  ...more,
});

/**
 * An empty chart in `holder`. `span()`: the time it shows, in seconds, whether or not there are points for all of it. `unpointed`: the time that
 * is written where nobody points at it.
 */
function plot(holder, write, series, span, unpointed, more) {
  const options = {
    width: Math.max(holder.clientWidth - 20, 50),
    height: HEIGHT,
    axes: [
      axis({ size: 26, space: 48, incrs: TIMES, values: (_, ticks) => ticks.map((t) => clock(t * 1000)) }),
      axis({ size: 66, values: (_, ticks) => ticks.map(write), ...(write === bytes && { incrs: POWERS_OF_TWO }) }),
    ],
    scales: { x: { range: () => span() }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    series: [{ label: "at", value: (_, at) => (at == null ? unpointed : clock(at * 1000, true)) }, ...series],
    ...more,
  };
  const chart = new uPlot(options, [[], ...series.map(() => [])], holder);
  const fit = new ResizeObserver(() => chart.setSize({ width: Math.max(holder.clientWidth - 20, 50), height: HEIGHT }));
  fit.observe(holder);
  return { show: (data) => chart.setData(data), destroy: () => (fit.disconnect(), chart.destroy()) };
}

/** Where nobody points at a chart, the newest is written below it. */
function newest(chart) {
  const isPointedAt = chart.cursor.left >= 0;
  if (!isPointedAt) chart.setLegend({ idx: chart.data[0].length > 0 ? chart.data[0].length - 1 : null }, false);
}

/** Draws all of them into `parent`. What it returns shows points, oldest first, over `[from, to]` in milliseconds. */
export function drawCharts(parent) {
  let span = [0, 1];
  const all = CHARTS.map(([title, write, ...fields]) => {
    const holder = parent.appendChild(Object.assign(document.createElement("div"), { className: "chart" }));
    holder.setAttribute("role", "group");
    holder.setAttribute("aria-label", title);
    holder.appendChild(Object.assign(document.createElement("h3"), { textContent: title }));
    // The second line is broken: where two are equal both are seen.
    const series = fields.map(([label], n) => ({ label, stroke: COLOURS[n], width: 1.5, dash: n === 1 ? [5, 4] : [], value: (_, v) => write(v) }));
    const more = { cursor: { y: false, sync: { key: "voxgate" } }, hooks: { setCursor: [newest], setData: [newest] } };
    return { chart: plot(holder, write, series, () => span, "–", more), fields };
  });
  return (points, from, to) => {
    span = [from / 1000, to / 1000];
    parent.dataset.seconds = Math.round(span[1] - span[0]);
    const at = points.map((p) => seconds(p.at));
    for (const { chart, fields } of all) {
      chart.show([at, ...fields.map(([, field]) => points.map((p) => (typeof field === "function" ? field(p) : p[field])))]);
    }
  };
}

const KINDS_MAX = COLOURS.length;
const MINUTE_S = 60;
const BARS_MAX = 120;

/** The timeline in bars of equal width, those without errors too: [starts in seconds, a row of counts for each kind]. */
function bars(timeline, kinds, [from, to]) {
  const width = Math.ceil((to - from) / BARS_MAX / MINUTE_S) * MINUTE_S;
  // The server's minutes begin where it was started, and the bars with them.
  const phase = timeline.length > 0 ? seconds(timeline[0].at) % width : 0;
  const first = Math.floor((from - phase) / width) * width + phase;
  const starts = Array.from({ length: Math.floor((to - first) / width) + 1 }, (_, n) => first + n * width);
  const rows = kinds.map(() => starts.map(() => 0));
  for (const minute of timeline) {
    const bar = Math.floor((seconds(minute.at) - first) / width + 1e-3); // times are whole milliseconds, sums of them hardly
    if (bar < 0 || bar >= starts.length) continue;
    for (const [kind, count] of Object.entries(minute.by_kind)) {
      const row = kinds.indexOf(kind);
      rows[row < 0 ? kinds.length - 1 : row][bar] += count; // the last takes what has no colour of its own
    }
  }
  return [starts, rows];
}

/** Draws errors by kind over time, kinds on top of each other. */
export function drawErrors(parent) {
  let chart, shown = "", span = [0, 1], rows = [];
  return (timeline, byKind, from, to) => {
    const ranked = Object.entries(byKind).sort((a, b) => b[1] - a[1]).map(([kind]) => kind);
    const kinds = ranked.length > KINDS_MAX ? [...ranked.slice(0, KINDS_MAX - 1), "others"] : ranked;
    if (kinds.join() !== shown || (!chart && kinds.length > 0)) {
      shown = kinds.join();
      chart?.destroy();
      chart = undefined;
      parent.replaceChildren();
      if (kinds.length > 0) chart = plot(parent, number, stack(kinds, () => rows), () => span, "any time", { cursor: { y: false } });
    }
    if (!chart) return parent.replaceChildren("None in this window.");
    span = [from / 1000, to / 1000];
    let starts;
    [starts, rows] = bars(timeline, kinds, span);
    span = [starts[0], starts.at(-1) + (starts[1] - starts[0])];
    const sums = rows.map((_, n) => starts.map((__, bar) => rows.slice(0, n + 1).reduce((sum, row) => sum + row[bar], 0)));
    chart.show([starts, ...sums.reverse()]);
  };
}

/** A series for each kind, the highest sum first: the others are drawn over it. The legend says what is a kind's own: of a bar, or of all. */
function stack(kinds, rows) {
  const paths = uPlot.paths.bars({ size: [0.85, 60], align: 1 });
  const series = kinds.map((label, n) => ({
    label,
    stroke: COLOURS[n],
    fill: COLOURS[n],
    width: 0,
    paths,
    points: { show: false },
    value: (_, __, ___, bar) => number(bar == null ? rows()[n]?.reduce((sum, count) => sum + count, 0) : rows()[n]?.[bar]),
  }));
  return series.reverse();
}
