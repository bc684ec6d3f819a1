/** Dead letters and quarantine: what failed alike, tried over what is there now, sent again, or dropped. */

import { get } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { count, number, since } from "../shell/format.js";
import { button, command, empty, head, mono, table } from "../shell/parts.js";
import { link } from "../shell/routes.js";
import { Group } from "./letters/group.js";
import { isPlain, quoted, releaseButton, retryButton } from "./letters/orders.js";
import { Waiting } from "./letters/waiting.js";

export default function show(view) {
  const groups = new Map();
  const waiting = new Waiting(view, () => draw());
  let found = null;
  const draw = () => render(view.main,
    head("Dead letters and quarantine", "Commands that could not be processed, kept with the reason. Nothing was written for them, and their senders were told."),
    quarantine(view, found, waiting),
    h("section.stack", {},
      h("h2", {}, "Dead letters"),
      found.groups.length ? null : empty("There is no dead letter."),
      found.groups.map((each) => groups.get(keyOf(each)).card()),
      found.groups.length ? h("p.soft.small", {}, `The newest ${number(found.looked_at)} of each type are looked at. One that was sent again stays until it is dropped.`) : null));
  view.live({
    seconds: 5,
    ask: (signal) => get("dead-letters", { signal }),
    show: ({ body }) => {
      found = body;
      for (const each of body.groups) {
        const known = groups.get(keyOf(each)) ?? new Group(view, keyOf(each), draw);
        groups.set(keyOf(each), known.now(each, body));
      }
      draw();
    },
  });
}

const keyOf = ({ type, command: name, failure, line }) => JSON.stringify([type, name, failure, line]);

function quarantine(view, { quarantined, apps, retried, dropped }, waiting) {
  if (!quarantined.length) return null;
  return h("section.stack", {},
    h("h2", {}, `${count(quarantined.length, "aggregate")} in quarantine`),
    h("p.soft", {}, "One of its commands raised, and later ones wait behind it. Mend the code and retry that command: the others follow it. Or let them go on without it."),
    table("Aggregates in quarantine", [
      { title: "Aggregate", head: true, cell: ({ type, id }) => h("a", { href: link("aggregate", type, id) }, mono(`${type} ${id}`, { class: "mono long" })) },
      { title: "Since", cell: (each) => since(each.since) },
      { title: "Waiting", number: true, cell: (each) => number(each.waiting) },
      { title: "What was raised", cell: (each) => each.reason },
      { title: "Orders", cell: orders },
    ], quarantined, { key: ({ type, id }) => `${type} ${id}` }),
    waiting.verdict());

  function orders(each) {
    const { type, id, letter } = each;
    const retry = letter && retried.includes(type);
    const release = dropped.includes(type);
    return h("div.stack.tight", {},
      h("div.row", {},
        retry ? retryButton(view, type, [letter], "Retry it…", { "aria-label": `Retry the command of ${id}` }) : null,
        button("Try what waits", () => waiting.try(type, id), { "aria-label": `Try what waits for ${id}` }),
        release ? releaseButton(view, each) : null),
      !release && isPlain(id) ? command(`faust -A ${apps[type] || `<app of ${type}>`} quarantine release ${type} ${quoted(id)}`) : null);
  }
}
