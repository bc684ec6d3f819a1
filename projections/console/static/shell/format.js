/** Numbers and times for people. Times are those of the reader's clock; the exact one is in the title. */

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SIZES = ["bytes", "KB", "MB", "GB", "TB"];

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const rate = (value) => (Math.abs(value) < 10 ? tenth : short).format(value);
export const percent = (part, total) => (total > 0 ? `${Math.min(Math.floor((100 * part) / total), 100)} %` : "–");

/** "1 event", "3 events". */
export const count = (value, noun, plural = `${noun}s`) => `${number(value)} ${value === 1 ? noun : plural}`;

export function bytes(value) {
  let size = value;
  let unit = 0;
  for (; size >= 1000 && unit < SIZES.length - 1; unit++) size /= 1000;
  return `${(unit && size < 10 ? tenth : whole).format(size)} ${SIZES[unit]}`;
}

/** A length of time with its two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const left = Math.abs(seconds);
  if (left < 1) return left === 0 ? "0 s" : `${whole.format(left * 1000)} ms`;
  if (left < 60) return `${left < 10 ? tenth.format(left) : whole.format(left)} s`;
  const rounded = Math.round(left);
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
  if (rounded < 86400) return `${Math.floor(rounded / 3600)} h ${Math.floor((rounded % 3600) / 60)} min`;
  return `${Math.floor(rounded / 86400)} d ${Math.floor((rounded % 86400) / 3600)} h`;
}

export const secondsSince = (text) => (Date.now() - Date.parse(text)) / 1000;

export function ago(text) {
  const seconds = secondsSince(text);
  if (seconds < -1) return `in ${duration(-seconds)}`;
  return seconds < 2 ? "just now" : `${duration(seconds)} ago`;
}

/** A moment: today's by the clock, others with the day. */
export function when(text) {
  if (!text) return "–";
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  const isToday = new Date().toDateString() === date.toDateString();
  const shown = isToday ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
  return h("time.nowrap", { datetime: text, title: text }, shown);
}

/** A moment by how long ago it was. */
export const since = (text) => (text ? h("time.nowrap", { datetime: text, title: text }, ago(text)) : "–");
