/**
 * The pages, and how one is added:
 *
 * 1. A module in `pages/` with `export default function show(view)`. It fills `view.main`, an empty element, with
 *    `render` of `dom.js`. What it may use of the shell:
 *
 *    view.main          where the page stands
 *    view.parts         the parts of the address behind the page's name: of `#/aggregate/order/17` it is ["order", "17"]
 *    view.query         the parameters of the address, a URLSearchParams
 *    view.signal        an AbortSignal, for `get` and `post`: the page was left
 *    view.title(text)   the title of the window
 *    view.remember({at: 5})   parameters of the address from now on, so that it can be sent to somebody; null removes one
 *    view.live({seconds, ask, show})   asks now and every so many seconds, as `live.js` says
 *    view.act(work)     awaits `work()`, and shows the problem that it raises
 *
 * 2. A line below. Pages that have a `label` stand in the navigation, in this order.
 *
 * Links between pages are made by `link("aggregate", type, id, {at: 5})`. Shared parts are in `parts.js`, numbers and
 * times in `format.js`, what the app has (types, commands and their forms) in `system.js`. Styles of pages are in
 * `style/pages.css`.
 */

export const ROUTES = [
  { page: "now", label: "Now", load: () => import("../pages/now.js") },
  { page: "aggregate", label: "Aggregate", load: () => import("../pages/aggregate.js") },
  { page: "story", label: "Story", load: () => import("../pages/story.js") },
  { page: "logs", label: "Logs and owners", load: () => import("../pages/logs.js") },
  { page: "tables", label: "Tables", load: () => import("../pages/tables.js") },
  { page: "steps", load: () => import("../pages/steps.js") },
  { page: "schemas", label: "Schemas", load: () => import("../pages/schemas.js") },
  { page: "timers", label: "Timers", load: () => import("../pages/timers.js") },
  { page: "letters", label: "Dead letters", load: () => import("../pages/letters.js") },
  { page: "audit", label: "Audit", load: () => import("../pages/audit.js") },
];

/** The address of a page, with its parts and at most one object of parameters. */
export function link(page, ...parts) {
  const query = parts.length && typeof parts.at(-1) === "object" ? parts.pop() : {};
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined));
  const path = [page, ...parts].map(encodeURIComponent).join("/");
  return `#/${path}${parameters.size ? `?${parameters}` : ""}`;
}

/** What an address says: the page's name, its parts and its parameters. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [page, ...parts] = path.split("/").map(decoded);
  return { page, parts, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
