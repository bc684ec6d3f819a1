/** Tables: each projection with its versions beside each other, builds, keys that wait, and the orders to them. */

import { get, path, post } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { count, duration, number, percent, rate } from "../shell/format.js";
import { badge, bar, button, confirm, empty, head, mono, say, table } from "../shell/parts.js";
import { link } from "../shell/routes.js";

const TONE = { serving: "good", complete: "note", building: "note", held: "bad", paused: "warn", frozen: "warn", "to drop": null };
const SAID = {
  serving: "answers", complete: "complete, about to answer or kept beside", building: "is being built", held: "stands still",
  paused: "paused", frozen: "answers, and gets older: its code is gone", "to drop": "nobody needs it any more",
};
const PART_TONE = { current: "good", behind: "note", paused: "warn", held: "bad" };

export default function show(view) {
  const again = view.live({
    seconds: 2,
    ask: (signal) => get("projections", { signal }),
    show: ({ body }) =>
      render(view.main,
        head("Tables", "A projection is a fold of events to rows. A new version is built beside the table that answers, and takes over when it is complete."),
        body.projections.length ? null : empty("There is no projection."),
        byUrgency(body.projections).map((projection) => section(projection, () => again()))),
  });
}

function section(projection, again) {
  const { name, version, source, store, paused } = projection;
  return h("section.stack.projection", { key: name, id: `projection-${name}` },
    h("div.stack", {},
      h("h2", {}, name),
      h("p.soft.small", {}, `${version === null ? "No code any more" : `Version ${version}`} · events of ${source}${store ? ` · ${store}` : ""}`),
      h("div.row", {}, orders(projection, again))),
    h("div.stack", {},
      paused === null ? null : h("p", {}, badge("paused", "warn"), " ", paused),
      h("div.grid", {}, projection.tables.map((each) => card(projection, each, again))),
      projection.quarantined_keys ? waiting(projection, again) : null,
      projection.skips.length
        ? h("details", {}, h("summary", {}, `${count(projection.skips.length, "event")} left out`),
            h("ul", {}, projection.skips.map((skip) => h("li", {}, mono(skip.position), ": ", skip.reason))))
        : null));
}

/** Those that somebody has to look at first, then those that are built; the others by name. */
function byUrgency(projections) {
  const rank = ({ tables, quarantined_keys: waits }) =>
    waits || tables.some((each) => each.error || ["held", "paused", "frozen"].includes(each.state)) ? 0
      : tables.some((each) => each.state !== "serving") ? 1 : 2;
  return projections.map((projection) => [rank(projection), projection]).sort(([one], [other]) => one - other).map(([, projection]) => projection);
}

function card(projection, each, again) {
  const isServing = each.table === projection.serving;
  const parts = Object.entries(each.partitions);
  return h("article.card.stack", { key: each.table, "data-tone": TONE[each.state] },
    h("div.row.between", {}, h("h3.mono", {}, each.table), badge(SAID[each.state].split(",")[0], TONE[each.state])),
    each.done < each.total ? bar(each.done, each.total, each.state === "building" ? "note" : TONE[each.state] ?? "quiet") : null,
    h("p.soft.small", {}, progress(each)),
    h("div.cells", { "aria-hidden": "true" }, parts.map(([slice, part]) =>
      h("span", { "data-tone": PART_TONE[part.state] ?? null, title: `${slice}: ${part.state}, ${number(part.done)} of ${count(part.total, "event")}` }))),
    each.error ? h("p.overflow", {}, each.error) : null,
    each.state === "to drop" && !isServing ? h("div.row", {}, button("Drop…", () => drop(projection, each, again))) : null);
}

function progress(each) {
  const done = `${percent(each.done, each.total)} of ${count(each.total, "event")}`;
  if (each.done >= each.total) return `All ${count(each.total, "event")} applied.`;
  if (!each.rate) return `${done}.`;
  return `${done}, ${rate(each.rate)} a second${each.seconds_left === null ? "" : `, about ${duration(each.seconds_left)} to go`}.`;
}

function waiting(projection, again) {
  const shown = projection.quarantined;
  return h("div.stack", {},
    h("h3", {}, `${count(projection.quarantined_keys, "key")} cannot be shown`),
    table(`Keys of ${projection.name} that wait`, [
      { title: "Key", head: true, cell: (key) => mono(key.key, { class: "mono long" }) },
      { title: "Table", cell: (key) => mono(key.table) },
      { title: "Waits at", cell: (key) => mono(key.position) },
      { title: "Events", number: true, cell: (key) => number(key.events) },
      { title: "What it raised", cell: (key) => key.error },
      {
        title: "Orders", cell: (key) => h("div.row", {},
          h("a.button", { href: link("steps", projection.name, key.key), "aria-label": `Step through ${key.key}` }, "Step through"),
          button("Rebuild", () => rebuildRow(projection, key, again), { "aria-label": `Rebuild ${key.key}` }),
          button("Skip…", () => skip(projection, key.position, again), { "aria-label": `Skip the event at ${key.position}` })),
      },
    ], shown, { key: (key) => `${key.table} ${key.key}` }),
    projection.quarantined_keys > shown.length ? h("p.soft", {}, `And ${number(projection.quarantined_keys - shown.length)} more.`) : null);
}

function orders(projection, again) {
  const { name, paused } = projection;
  return [
    button("Rebuild…", () => rebuild(projection, again), { "aria-label": `Rebuild ${name}` }),
    projection.version === null ? null : h("a.button", { href: link("steps", name), "aria-label": `Step through ${name}` }, "Step through"),
    paused === null
      ? button("Pause…", () => pause(projection, again), { "aria-label": `Pause ${name}` })
      : button("Resume…", () => resume(projection, again), { "aria-label": `Resume ${name}` }),
  ];
}

/** Ask, give an order, say that it was taken, and look again. */
async function order({ title, about, label, where, body = {}, reason = true, done }, again) {
  const taken = await confirm({
    title, about, label, reason,
    act: (why) => post(where, reason ? { ...body, reason: why } : body),
  });
  if (taken) say(done);
  again();
}

const rebuild = ({ name, serving }, again) => order({
  title: `Rebuild ${name}?`,
  about: `A new table is built from all events. ${serving ? `${serving} answers meanwhile, and is kept up to date.` : ""}`,
  label: "Rebuild", where: path`projections/${name}/rebuild`, body: { again: true }, done: `A new table of ${name} is being built.`,
}, again);

const pause = ({ name }, again) => order({
  title: `Pause ${name}?`,
  about: "Its tables answer, and get older, until somebody lets them go on.",
  label: "Pause", where: path`projections/${name}/pause`, done: `${name} stands still.`,
}, again);

const resume = ({ name, paused }, again) => order({
  title: `Resume ${name}?`,
  about: `It was paused for this: ${paused}`,
  label: "Resume", where: path`projections/${name}/resume`, reason: false, done: `${name} goes on.`,
}, again);

const drop = ({ name }, { table: dropped }, again) => order({
  title: `Drop ${dropped}?`,
  about: "The table is removed from all workers. Its events stay, so it could be built again.",
  label: "Drop", where: path`projections/${name}/drop`, body: { table: dropped }, done: `${dropped} is being removed.`,
}, again);

const skip = ({ name }, position, again) => order({
  title: `Skip the event at ${position}?`,
  about: `${name} leaves it out, for ever; the keys that wait for it are folded anew.`,
  label: "Skip", where: path`projections/${name}/skip`, body: { position }, done: `${name} leaves out ${position}.`,
}, again);

const rebuildRow = ({ name }, { key }, again) => order({
  title: `Rebuild the row ${key}?`,
  about: "It is folded anew from its events, with the code that the workers have now.",
  label: "Rebuild", where: path`projections/${name}/rows/${key}/rebuild`, reason: false, done: `${key} is folded anew.`,
}, again);
