/** The shell: the rail, the address, who asks, and the page that is shown. Pages are added in `routes.js`. */

import { Problem, get, token, whenUnknown } from "./api.js";
import { h, render, svg } from "./dom.js";
import { live } from "./live.js";
import { button, problem } from "./parts.js";
import { ROUTES, link, parse } from "./routes.js";

const THEME = "theme";
const root = document.documentElement;
const main = h("main", { id: "main", tabindex: "-1" });
const fault = h("div.fault", {});
const rail = h("header.rail", {}, h("div.held", {}));
const PULSE_SECONDS = 5;
const PULSE = { well: "all is well", look: "there is something to look at", act: "something needs you now" };
let shown = null;
let verdict = null;
let isDeclined = false;
let leaving = new AbortController();

function showRail(page) {
  const links = ROUTES.filter((route) => route.label).map((route) =>
    h("li", {}, h("a", { href: link(route.page), "aria-current": route.page === page ? "page" : null },
      route.label, route.page === ROUTES[0].page ? pulse() : null)));
  const theme = (value, text) => h("option", { value, selected: (localStorage.getItem(THEME) ?? "") === value }, text);
  render(
    rail.firstChild,
    h("div.brand", {}, mark(), h("span", {}, "Console")),
    h("nav", { "aria-label": "Pages" }, h("ul", {}, links)),
    h("div.foot", {},
      h("select", { "aria-label": "Colours", onchange: ({ target }) => setTheme(target.value) },
        theme("", "As the system"), theme("light", "Light"), theme("dark", "Dark")),
      token.get() ? button("Forget the token", forget, { class: "button bare who" }) : null),
  );
}

/** A sign beside the first page, from all of them: whether all is well. */
function pulse() {
  return verdict ? h("span.pulse", { "data-verdict": verdict, role: "img", "aria-label": PULSE[verdict] }) : null;
}

function keepPulse() {
  const say = (word) => {
    verdict = word;
    showRail(shown?.page);
  };
  live({
    seconds: PULSE_SECONDS,
    signal: new AbortController().signal,
    ask: (signal) => get("findings", { signal, isQuiet: true }),
    show: ({ body }) => say(body.verdict),
    fail: (error) => error && say(null),
  });
}

function mark() {
  return svg("svg", { width: 18, height: 18, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("rect", { width: 16, height: 16, rx: 4, fill: "currentColor" }),
    svg("path", { d: "M4 5h8M4 8h8M4 11h5", stroke: "var(--sunk)", "stroke-width": 1.6, "stroke-linecap": "round" }));
}

function setTheme(value) {
  if (value) localStorage.setItem(THEME, value);
  else localStorage.removeItem(THEME);
  applyTheme();
}

function applyTheme() {
  const chosen = localStorage.getItem(THEME);
  if (chosen) root.dataset.theme = chosen;
  else delete root.dataset.theme;
}

function forget() {
  token.forget();
  location.reload();
}

async function show() {
  const { page, parts, query } = parse(location.hash || link(ROUTES[0].page));
  const route = ROUTES.find((each) => each.page === page);
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const inner = h("div.inner", {});
  isDeclined = false;
  showRail(page);
  rail.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  showFaults([]);
  main.replaceChildren(fault, inner);
  document.title = `${route?.label ?? page} · Console`;
  if (shown !== null) main.focus({ preventScroll: true });
  scrollTo(0, 0);
  shown = { page, parts, query };
  if (!route) {
    render(inner, problem({ title: "No such page", detail: `There is no page ${page}. The ones there are stand at the side.` }));
    return;
  }
  const view = viewOf({ inner, route, parts, query, signal });
  await view.act(async () => (await route.load()).default(view));
}

function viewOf({ inner, route, parts, query, signal }) {
  const faults = new Map();
  const note = (what, error, isShown) => {
    faults.delete(what);
    if (error && !signal.aborted) faults.set(what, { error, isShown });
    showFaults([...faults.values()]);
  };
  return {
    main: inner,
    parts,
    query,
    signal,
    title: (text) => (document.title = `${text} · ${route.label ?? route.page} · Console`),
    remember(changed) {
      for (const [name, value] of Object.entries(changed)) {
        if (value === null || value === "") query.delete(name);
        else query.set(name, value);
      }
      history.replaceState(null, "", link(route.page, ...parts, Object.fromEntries(query)));
    },
    async act(work) {
      try {
        const done = await work();
        note("act", null);
        return done;
      } catch (error) {
        if (signal.aborted) return undefined;
        if (!(error instanceof Problem)) console.error(error);
        note("act", error, false);
        return undefined;
      }
    },
    live({ seconds, ask, show: shownBy }) {
      let isShown = false;
      const shows = (answer) => {
        isShown = true;
        shownBy(answer);
      };
      return live({ seconds, signal, ask, show: shows, fail: (error) => note(shownBy, error, isShown) });
    },
  };
}

/** Say above the page what could not be had: of what is shown already, that it is older; of the rest, why. */
function showFaults(all) {
  const missing = all.find(({ isShown }) => !isShown);
  const older = all.find(({ isShown }) => isShown);
  render(fault, missing ? problem(missing.error) : null,
    older ? h("div.offline", { role: "status" }, `${older.error.title}: ${older.error.detail ?? ""} What you see is older.`) : null);
}

/** Ask for a token; gives whether there is one now. */
function askForToken(refused) {
  if (isDeclined) return Promise.resolve(false);
  return new Promise((resolve) => {
    const input = h("input", { type: "password", name: "token", required: true, autocomplete: "off", spellcheck: "false" });
    let isGiven = false;
    const dialog = h(
      "dialog", { "aria-labelledby": "who", onclose: () => (dialog.remove(), (isDeclined = !isGiven), showRail(shown?.page), resolve(isGiven)) },
      h("form", { method: "dialog", onsubmit: () => (token.set(input.value.trim()), (isGiven = true)) },
        h("h2", { id: "who" }, "Who are you?"),
        h("p.soft", {}, "This system wants to know who asks. ", token.get() ? `The token is not taken: ${refused.detail}.` : null),
        h("label", {}, "Token", h("span.soft.small", {}, "Kept until this tab is closed, and sent to this worker alone."), input),
        h("div.row", {}, button("Cancel", () => dialog.close()), h("button.button.first", { type: "submit" }, "Go on"))),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

applyTheme();
whenUnknown(askForToken);
document.body.append(
  h("button.button.skip", { type: "button", onclick: () => main.focus() }, "Skip to the page"),
  rail, main,
  h("div.said", { id: "said", role: "status", "aria-live": "polite" }),
);
addEventListener("hashchange", show);
show();
keepPulse();
