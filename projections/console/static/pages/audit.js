/** Audit: what operators have ordered, in all apps, and what came of it; the newest first, a page at a time. */

import { get } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { when } from "../shell/format.js";
import { badge, button, empty, head, mono, table } from "../shell/parts.js";
import { link } from "../shell/routes.js";

const LIMIT = 50;
const TONE = { accepted: "good", refused: "warn", failed: "bad" };
const FILTERS = ["who", "what", "since", "type", "id"];

export default function show(view) {
  const found = h("div.stack", {});
  const again = view.live({
    seconds: 10, // each look reads the topic
    ask: (signal) => get("audit", { signal, query: asked(view) }),
    show: ({ body }) => render(found, list(body.actions), paging(view, body.next, () => again())),
  });
  const look = (event) => {
    event.preventDefault();
    const typed = new FormData(event.target);
    view.remember({ ...Object.fromEntries(FILTERS.map((name) => [name, typed.get(name).trim() || null])), before: null });
    again();
  };
  render(view.main,
    head("Audit", "What operators have ordered, by HTTP and on the command line, and what came of it. Each is written down before it is done."),
    filters(view, look), found);
}

/** The parameters of the route: a moment of the reader's clock has its zone there. */
function asked({ query }) {
  const since = new Date(query.get("since") ?? "");
  const moment = Number.isNaN(since.getTime()) ? query.get("since") : since.toISOString();
  return { ...Object.fromEntries(query), since: moment, limit: LIMIT };
}

function filters({ query }, look) {
  const field = (name, label, more = {}) =>
    h("label", {}, label, h("input", { name, maxlength: "512", autocomplete: "off", spellcheck: "false", value: query.get(name) ?? "", ...more }));
  return h("form.fields", { onsubmit: look },
    field("who", "Who"), field("what", "What"), field("since", "Since", { type: "datetime-local" }),
    field("type", "Type"), field("id", "Id"),
    h("div.row", {}, h("button.button", { type: "submit" }, "Show")));
}

function list(actions) {
  if (!actions.length) return empty("No order like that is in the audit.");
  return table("Actions", [
    { title: "When", cell: (action) => when(action.time) },
    { title: "Action", head: true, cell: (action) => h("div.stack.tight", {}, mono(action.action), about(action)) },
    { title: "Outcome", cell: (action) => badge(action.outcome ?? "no end", TONE[action.outcome] ?? "note") },
    { title: "Who", cell: (action) => h("div.by", {}, mono(action.who, { class: "mono long" }), h("span.soft.small", {}, action.address)) },
    { title: "Why, and what came of it", cell: (action) => said(action) },
  ], actions, { key: (action) => action.offset });
}

/** The parameters; an aggregate leads to its life. */
function about({ parameters }) {
  const { type, id } = parameters;
  return Object.entries(parameters).map(([name, value]) =>
    h("span.small.long", {}, h("span.soft", {}, `${name} `),
      name === "id" && type ? h("a", { href: link("aggregate", type, id) }, value) : value));
}

function said({ reason, detail, app, client, ended }) {
  return h("div.stack.tight.upshot", {},
    reason ? h("strong", {}, reason) : null,
    h("details", {}, h("summary", {}, "Details"),
      h("dl.facts", {},
        h("dt", {}, "app"), h("dd", {}, app), h("dt", {}, "by"), h("dd.overflow", {}, client),
        h("dt", {}, "ended"), h("dd", {}, ended ? when(ended) : "no end is known: it is under way, or was broken off"),
        h("dt", {}, "effect"), h("dd.overflow", {}, detail || "–"))));
}

function paging(view, next, again) {
  const go = (before) => {
    view.remember({ before });
    again();
  };
  const isOlder = view.query.has("before");
  if (!isOlder && next === null) return null;
  return h("div.row", {},
    isOlder ? button("Newest", () => go(null)) : null,
    next === null ? null : button("Older", () => go(next)));
}
