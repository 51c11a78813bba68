// How figures and times are written. Knows no page.

export const number = (n) => (n == null ? "–" : Math.abs(n) >= 100 ? Math.round(n).toLocaleString() : String(+n.toFixed(Math.abs(n) >= 10 ? 1 : 2)));

export function bytes(n) {
  if (n == null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; Math.abs(n) >= 1024 && at < units.length - 1; at++) n /= 1024;
  return `${number(n)} ${units[at]}`;
}

export const us = (n) => (n == null ? "–" : n >= 1000 ? `${number(n / 1000)} ms` : `${number(n)} µs`);
export const percent = (n) => (n == null ? "–" : `${number(n)} %`);
export const ms = (n) => (n == null ? "–" : `${number(n)} ms`);

const TIME = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const TIME_S = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const DAY_MS = 86_400_000;

/** The time of day. `at`: milliseconds, or what Date reads. */
export const clock = (at, withSeconds) => (withSeconds ? TIME_S : TIME).format(new Date(at));

/** The time of day, with the date where it was not within the last 24 hours. */
export const moment = (at) => (Date.now() - Date.parse(at) < DAY_MS ? clock(at, true) : `${DAY.format(new Date(at))} ${clock(at, true)}`);
