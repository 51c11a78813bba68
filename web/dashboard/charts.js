// The charts: what is drawn of which field, and how. Knows points, not where they come from.
/* global uPlot */

const COLOURS = ["#2563eb", "#ea580c", "#16a34a", "#9333ea", "#dc2626", "#0891b2", "#a16207"];
const HEIGHT = 170;

export const number = (n) => (n == null ? "–" : Math.abs(n) >= 100 ? Math.round(n).toLocaleString() : String(+n.toFixed(2)));

export function bytes(n) {
  if (n == null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; Math.abs(n) >= 1024 && at < units.length - 1; at++) n /= 1024;
  return `${number(n)} ${units[at]}`;
}

const us = (n) => (n == null ? "–" : n >= 1000 ? `${number(n / 1000)} ms` : `${number(n)} µs`);
const percent = (n) => (n == null ? "–" : `${number(n)} %`);
const ms = (n) => (n == null ? "–" : `${number(n)} ms`);

/** Every chart: title, how a value is written, and label and field of each line. */
export const CHARTS = [
  ["Connections", number, ["connected", "connections"], ["recovering", "recovering"]],
  ["Streams", number, ["streams", "streams"], ["recordings", "recordings_open"]],
  ["Audio decoded, seconds a second", number, ["audio", "audio_s_per_s"]],
  ["Acknowledgement latency", us, ["p50", "ack_p50_us"], ["p95", "ack_p95_us"], ["p99", "ack_p99_us"]],
  ["Bytes a second", bytes, ["in", "bytes_in_per_s"], ["out", "bytes_out_per_s"]],
  ["Messages a second", number, ["in", "messages_in_per_s"], ["out", "messages_out_per_s"]],
  ["Outbound queues", bytes, ["waiting", "queue_bytes"]],
  ["Audio waiting and dropped", ms, ["waiting", "buffered_ms"], ["dropped a second", "dropped_ms_per_s"]],
  ["Errors a second", number, ["errors", "errors_per_s"]],
  ["Worker lag and messages", us, ["lag", (p) => p.lag_max_ms * 1000], ["message p95", "processing_p95_us"]],
  ["Processor", percent, ["this process (of a core)", "process_cpu_percent"], ["machine", "system_cpu_percent"]],
  ["Memory", bytes, ["process", "process_memory_bytes"], ["streams, reserved", "stream_memory_bytes"]],
];

const seconds = (at) => Date.parse(at) / 1000;
const axis = (write, size = 70) => ({
  stroke: () => getComputedStyle(document.body).color,
  grid: { stroke: "#8884", width: 1 },
  size,
  ...(write && { values: (_, ticks) => ticks.map(write) }),
});

/** Points as the columns a chart wants. A gap longer than three intervals is drawn as one. */
function columns(points, fields) {
  const rows = [points.map((p) => seconds(p.at))];
  for (const [, field] of fields) rows.push(points.map((p) => (typeof field === "function" ? field(p) : p[field])));
  return rows;
}

function plot(holder, write, series, extra = {}) {
  const options = {
    width: holder.clientWidth - 16,
    height: HEIGHT,
    cursor: { sync: { key: "voxgate" } },
    axes: [axis(null, 52), axis(write, 84)],
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    series: [{ label: "time" }, ...series],
    ...extra,
  };
  const chart = new uPlot(options, [[], ...series.map(() => [])], holder);
  new ResizeObserver(() => chart.setSize({ width: Math.max(holder.clientWidth - 16, 50), height: HEIGHT })).observe(holder);
  return chart;
}

/** Draws all of them into `parent`; the function it returns shows points. */
export function drawCharts(parent) {
  const all = CHARTS.map(([title, write, ...fields]) => {
    const holder = parent.appendChild(Object.assign(document.createElement("div"), { className: "chart" }));
    holder.appendChild(Object.assign(document.createElement("h3"), { textContent: title }));
    const series = fields.map(([label], n) => ({ label, stroke: COLOURS[n], width: 1.5, value: (_, v) => write(v), spanGaps: false }));
    return { chart: plot(holder, write, series), fields };
  });
  return (points) => all.forEach(({ chart, fields }) => chart.setData(columns(points, fields)));
}

const KINDS_MAX = COLOURS.length;

/** Draws errors by kind, a bar a minute, kinds on top of each other. */
export function drawErrors(parent) {
  let chart, shown = "";
  parent.className = "chart";
  return (timeline, byKind) => {
    if (timeline.length === 0) {
      chart?.destroy();
      chart = undefined;
      return parent.replaceChildren("None in this window.");
    }
    const ranked = Object.entries(byKind).sort((a, b) => b[1] - a[1]).map(([kind]) => kind);
    const kinds = ranked.length > KINDS_MAX ? [...ranked.slice(0, KINDS_MAX - 1), "others"] : ranked;
    const rest = new Set(ranked.slice(kinds.length - 1));
    const count = (row, kind) =>
      kind === "others" ? [...rest].reduce((n, k) => n + (row.by_kind[k] ?? 0), 0) : (row.by_kind[kind] ?? 0);
    if (kinds.join() !== shown || !chart) {
      shown = kinds.join();
      chart?.destroy();
      parent.replaceChildren();
      // The highest sum is drawn first, the others over it.
      const bars = uPlot.paths.bars({ size: [0.8, 30] });
      const series = kinds.map((label, n) => ({ label, stroke: COLOURS[n], fill: COLOURS[n], paths: bars, points: { show: false } }));
      chart = plot(parent, number, series.reverse(), { cursor: {} });
    }
    const rows = kinds.map(() => []);
    for (const minute of timeline) {
      let sum = 0;
      kinds.forEach((kind, n) => rows[n].push((sum += count(minute, kind))));
    }
    chart.setData([timeline.map((m) => seconds(m.at)), ...rows.reverse()]);
  };
}
