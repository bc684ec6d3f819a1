/** Schemas: the versions of each event and command of a type, what differs, how each is read today, and how many events are of each. */

import { get, path } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { count, number, percent } from "../shell/format.js";
import { badge, bar, empty, head, joined, mono, table } from "../shell/parts.js";
import { link } from "../shell/routes.js";
import { system } from "../shell/system.js";

const ABOUT = "What was written stays as it was written. Each version is read as the newest one: by Avro's resolution, or by an upcaster.";
const SIGN = { added: "+", removed: "−", changed: "~", renamed: "→" };

export default async function show(view) {
  const known = await system(view.signal);
  const types = [...known.types.values()].filter((type) => type.isRead);
  const [name = types[0]?.type] = view.parts;
  const choose = ({ target }) => (location.hash = link("schemas", target.value));
  const top = head("Schemas", ABOUT, h("label.inline", {}, "Type", h("select", { onchange: choose }, types.map(({ type }) => h("option", { value: type, selected: type === name }, type)))));
  if (!known.types.get(name)?.isRead) return render(view.main, top, empty(`There is no type ${name ?? "here"}.`));
  view.title(name);
  const place = h("div.stack.parts", {});
  render(view.main, top, place);
  view.live({ seconds: 2, ask: (signal) => get(path`schemas/of/${name}`, { signal }), show: ({ body }) => render(place, schemas(body)) });
}

function schemas({ type, records, counted, unreadable }) {
  const of = (kind) => records.filter((record) => record.kind === kind);
  return [
    h("section.stack", { key: "counted", "aria-label": "Counted" }, counting(counted),
      unreadable ? h("p", {}, badge(count(unreadable, "event"), "warn"), " have a schema that nobody has left here.") : null),
    h("section.stack", { key: "events", "aria-label": `Events of ${type}` }, h("h2", {}, "Events"), of("event").map((each) => card(type, each, counted))),
    h("section.stack", { key: "commands", "aria-label": `Commands of ${type}` }, h("h2", {}, "Commands"),
      h("p.soft.small", {}, "Commands are messages, not history: nobody counts them."), of("command").map((each) => card(type, each, counted))),
  ];
}

/** How far the counting is, in words: a number that is not complete says so. */
function counting({ events, commits, of_commits: all, is_complete: isComplete, fault }) {
  if (isComplete) return h("p.soft.small", {}, `Counted in the journal: ${count(events, "event")} in ${count(all, "commit")}.`);
  return [
    bar(commits, all, "note"),
    h("p.soft.small", {}, all ? `Counting in the journal, while somebody looks: ${count(events, "event")} so far, in ${percent(commits, all)} of ${count(all, "commit")}.` : "Counting in the journal begins."),
    fault ? h("p", {}, fault) : null,
  ];
}

function card(type, record, counted) {
  const { name, kind, is_used: isUsed, versions } = record;
  const total = versions.reduce((sum, each) => sum + (each.events ?? 0), 0);
  const columns = [
    { title: "Version", head: true, cell: (each) => [mono(`v${each.version}`), each.is_known ? null : [" ", badge("of another version of the code", "warn")]] },
    ...(kind === "event" ? [{ title: "Events", number: true, cell: (each) => `${number(each.events)}${counted.is_complete ? "" : " so far"}` }] : []),
    { title: "Differs from the one before", cell: (each) => differences(each) },
    ...(kind === "event" ? [{ title: "Is read today", cell: (each) => way(each, versions[0]) }] : []),
    { title: "Fingerprint", cell: (each) => mono(each.fingerprint) },
  ];
  return h("article.card.stack", { key: name, "aria-label": name },
    h("div.row.between", {}, h("h3.mono", {}, name), h("div.row", {},
      isUsed ? null : badge("no code uses it any more"),
      kind === "event" ? badge(count(total, "event"), total ? "good" : null) : null)),
    table(`Versions of ${name}`, columns, versions, { key: (each) => each.fingerprint }),
    h("details", {}, h("summary", {}, `The fields of v${versions[0].version}`),
      h("dl.facts.small", {}, Object.entries(versions[0].fields).map(([field, text]) => [h("dt.mono", {}, field), h("dd", {}, text)]))));
}

function differences({ version, changes, compatibility }) {
  const old = compatibility === "BACKWARD" ? badge("older code must not read it", "warn") : null;
  if (!changes.length) return [h("span.soft", {}, version === 1 ? "the first one" : "in docs, defaults or names alone"), " ", old];
  return h("ul.plain.small", {}, changes.map((each) => h("li", { key: each.name }, h("span.mono", { "aria-hidden": "true" }, `${SIGN[each.change]} `), said(each))), old ? h("li", {}, old) : null);
}

function said({ name, change, before, after, was }) {
  const field = mono(name);
  if (change === "added") return [h("ins", {}, field), h("span.soft", {}, ` added: ${after}`)];
  if (change === "removed") return [h("del", {}, field), h("span.soft", {}, ` removed: ${before}`)];
  if (change === "renamed") return [h("del", {}, mono(was)), " ", h("ins", {}, field), h("span.soft", {}, before === after ? ` renamed: ${after}` : ` renamed: ${before}, now ${after}`)];
  return [field, ": ", h("del", {}, before), " ", h("ins", {}, after)];
}

function way({ way: steps, version, reads_as: readsAs }, newest) {
  const shown = steps.map(({ by, to }) => (by === "upcaster" ? "by an upcaster" : ["as ", mono(to)]));
  const seen = readsAs === null ? null : h("span.soft.small", {}, readsAs.length ? [" The first of them is ", joined(readsAs.map((text) => mono(text)), " and "), "."] : " Nothing is left of the first of them.");
  if (shown.length) return [joined(shown, ", then "), ".", seen];
  return version === newest.version ? h("span.soft", {}, "as it is") : h("span.soft", {}, "by code that knows it");
}
