/** Logs and owners: who owns what since when, how far each log, topic and table is, and the last hour in plots. */

import { get } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { ago, bytes, count, duration, number, since, when } from "../shell/format.js";
import { badge, empty, head, joined, mono, table } from "../shell/parts.js";
import { lastHour } from "./hour.js";

const BEHIND = 10;
const FAR = 60;
const MOST_TAKEOVERS = 50;

export default function show(view) {
  let contexts = [];
  const owners = h("div.stack.parts", {});
  const places = h("div.stack.parts", {});
  const hour = lastHour(view, () => contexts.flatMap(marks));
  render(view.main, head("Logs and owners", "Commands of a log are decided by one worker, its owner. What it writes goes to Kafka, and from there to the tables."), hour, owners, places);
  view.live({
    seconds: 2,
    ask: (signal) => get("contexts", { signal }),
    show: ({ body }) => {
      contexts = body.contexts;
      render(owners, body.contexts.map(context), takeovers(body.contexts));
    },
  });
  view.live({ seconds: 3, ask: (signal) => get("lag", { signal }), show: ({ body }) => render(places, streams(body)) });
}

/** Takeovers as marks in time. */
function marks(each) {
  return each.takeovers.map((one) => ({
    at: one.at,
    text: `${one.log} was taken over by ${address(one.by)} from ${address(one.former)}, epoch ${one.epoch}, in ${duration(one.seconds)}`,
  }));
}

const address = (url) => url.replace(/^https?:\/\//, "") || "nobody";

/** The same in words, the newest first. */
function takeovers(contexts) {
  const all = contexts.flatMap((each) => each.takeovers).sort((one, other) => Date.parse(other.at) - Date.parse(one.at));
  return h("section.stack", {},
    h("h2", {}, "Takeovers of the last hour"),
    all.length ? table("Takeovers of the last hour", [
      { title: "When", cell: ({ at }) => [when(at), " ", h("span.soft.small", {}, ago(at))] },
      { title: "Log", head: true, cell: ({ log }) => mono(log) },
      { title: "By", cell: ({ by }) => mono(address(by)) },
      { title: "From", cell: ({ former }) => (former ? mono(address(former)) : h("span.soft", {}, "nobody")) },
      { title: "Took", number: true, cell: ({ seconds }) => duration(seconds) },
      { title: "Since the last commit", number: true, cell: (one) => (one.idle_seconds === null ? "–" : duration(one.idle_seconds)) },
      { title: "Epoch", number: true, cell: ({ epoch }) => number(epoch) },
    ], all.slice(0, MOST_TAKEOVERS), { key: ({ log, epoch }) => `${log} ${epoch}` }) : empty("No log has changed hands."),
    h("p.soft.small", {}, all.length > MOST_TAKEOVERS ? `And ${number(all.length - MOST_TAKEOVERS)} before. ` : null,
      "As owners say, and as this worker has seen while somebody looked; epochs count all of them."));
}

function context(each) {
  const owned = new Map(each.workers.flatMap((worker) => worker.owned.map((log) => [log.log, { ...log, worker }])));
  const rows = each.logs.map((name) => owned.get(name) ?? { log: name, worker: null });
  return h("section.stack", { key: each.name },
    h("div.row", {}, h("h2", {}, each.name), workersOf(each)),
    each.fault ? h("p.soft", {}, each.fault) : null,
    table(`Logs of ${each.name}`, [
      { title: "Log", head: true, cell: (log) => mono(log.log) },
      { title: "State", cell: (log) => standing(log) },
      { title: "Owner", cell: (log) => (log.worker ? mono(log.worker.url.replace(/^https?:\/\//, "")) : "–") },
      { title: "Since", cell: (log) => h("span.nowrap", { title: log.since ? `The takeover took ${duration(log.takeover_ms / 1000)}` : null }, since(log.since)) },
      { title: "Epoch", number: true, cell: (log) => number(log.epoch) },
      { title: "Head", number: true, cell: (log) => number(log.head) },
      { title: "Derived", number: true, cell: (log) => (log.head - log.indexed > 0 ? `${number(log.indexed)} (−${number(log.head - log.indexed)})` : number(log.indexed)) },
      { title: "Waiting", number: true, cell: (log) => (log.queued ? `${number(log.queued)}, ${bytes(log.queued_bytes)}` : number(log.queued)) },
      { title: "In memory", number: true, cell: (log) => (log.worker ? number(log.aggregates) : "–") },
      { title: "Slices", cell: (log) => (log.slices ? h("span.soft.nowrap", {}, inShort(log.slices)) : "–") },
    ], rows, { key: (log) => log.log }),
    rows.filter((log) => log.waits || Object.keys(log.held ?? {}).length).map((log) =>
      h("p", { key: `why-${log.log}` }, mono(log.log), " waits: ", log.waits || joined(Object.values(log.held), "; "))));
}

function workersOf(each) {
  if (!each.workers.length) return badge(each.fault ? "not known" : "no worker", each.fault ? "warn" : "bad");
  const troubled = each.workers.filter((worker) => worker.fault || worker.troubles);
  return [h("span.soft", {}, count(each.workers.length, "worker"), each.app ? [" of ", mono(each.app)] : null),
    troubled.length ? badge(`${number(troubled.length)} in trouble`, "warn") : null];
}

function standing(log) {
  if (!log.worker) return badge("no owner", "warn");
  if (!log.serving) return badge("waits", "warn");
  return Object.keys(log.held ?? {}).length ? badge("partly", "warn") : badge("served", "good");
}

/** The places of topics and tables: a line of each, a cell of each stream. */
function streams(lag) {
  const types = Map.groupBy(lag.streams, (stream) => stream.stream.replace(/-[0-9]+$/, ""));
  return h("section.stack", {},
    h("h2", {}, "How far they are"),
    h("p.soft", {}, "A column is a stream, the events of one slice. Topics and tables are held against the journal."),
    h("div.grid.wide", {}, [...types].map(([type, of]) => places(type, of))));
}

function places(type, of) {
  const tables = [...new Set(of.flatMap((stream) => stream.projections.map((each) => each.table)))];
  const published = of.map((stream) => ({ name: stream.stream, seconds: 0, events: stream.unpublished_events, isBehind: stream.unpublished_events > 0 }));
  const lines = [["published", published, true], ...tables.map((name) => {
    const cells = of.map((stream) => {
      const its = stream.projections.find((each) => each.table === name);
      return its && { name: stream.stream, seconds: its.seconds, events: its.events, isBehind: its.events > 0 };
    });
    return [name, cells, of.some((stream) => stream.projections.some((each) => each.table === name && each.serving))];
  })];
  return h("article.card.stack", { key: type },
    h("div.row.between", {}, h("h3.mono", {}, type), h("span.soft.small", {}, count(of.length, "stream"))),
    of.some((stream) => stream.ahead) ? badge("ahead of the journal", "bad") : null,
    lines.length === 1 && !of.length ? empty("Nothing yet.") : h("ul.places", {}, lines.map((each) => placeLine(...each))));
}

function placeLine(name, cells, isServing) {
  const behind = cells.filter((cell) => cell?.isBehind);
  const events = behind.reduce((sum, cell) => sum + cell.events, 0);
  const seconds = Math.max(0, ...behind.map((cell) => cell.seconds));
  const said = behind.length ? `${count(events, "event")}${seconds >= 1 ? `, ${duration(seconds)}` : ""} behind` : "up to date";
  return h("li", { key: name },
    h("span.mono.small", {}, name, isServing ? null : h("span.soft", {}, " · not answering")),
    h("span.soft.small", {}, said),
    h("span.cells", { "aria-hidden": "true" }, cells.map((cell) => h("span", {
      "data-tone": !cell ? null : !cell.isBehind ? "good" : cell.seconds >= FAR ? "bad" : cell.seconds >= BEHIND ? "warn" : "note",
      title: cell ? `${cell.name}: ${cell.isBehind ? `${count(cell.events, "event")} behind` : "up to date"}` : null,
    }))));
}

/** Numbers that rise, in short: `0-7`, `0-30 by 2`. */
function inShort(slices) {
  const steps = new Set(slices.slice(1).map((slice, index) => slice - slices[index]));
  if (slices.length < 3 || steps.size > 1) return slices.join(", ");
  const [step] = steps;
  return `${slices[0]}–${slices.at(-1)}${step > 1 ? ` by ${step}` : ""}`;
}
