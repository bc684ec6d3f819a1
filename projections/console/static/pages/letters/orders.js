/** What is done to dead letters: tried dry or sent again, so many at once as the route takes; dropped on the command line. */

import { get, path, post } from "../../shell/api.js";
import { h } from "../../shell/dom.js";
import { count } from "../../shell/format.js";
import { button, command, confirm, say } from "../../shell/parts.js";

const AT_ONCE = 20;

/** Try letters over what is there now; `step(tried)` gets what would be said to each, as it comes. */
export async function tryDry(view, type, places, step) {
  for (const some of parts(places)) {
    const { body } = await get(path`dead-letters/${type}/dry-run`, { signal: view.signal, query: { places: some.join(",") } });
    step(body.letters);
  }
}

/** A button that sends letters again, when a reason is given. `done(sent, refused)` gets what came of it. */
export function retryButton(view, type, places, text, attributes = {}, done = () => {}) {
  const ask = async () => {
    const found = await confirm({
      title: `Retry ${count(places.length, "command")} of ${type}?`,
      about: "Sent again as first it came, with the same id: what was accepted meanwhile has no second effect.",
      label: "Retry",
      reason: true,
      act: async (reason) => {
        const all = { sent: [], refused: [] };
        for (const some of parts(places)) {
          const { body } = await post(path`dead-letters/${type}/retry`, { places: some, reason });
          all.sent.push(...body.sent);
          all.refused.push(...body.refused);
        }
        return all;
      },
    });
    if (!found || view.signal.aborted) return;
    say(`${count(found.sent.length, "command")} sent again${found.refused.length ? `, ${found.refused.length} not: ${found.refused[0].reason}` : ""}.`);
    done(found);
  };
  return button(text, ask, attributes);
}

/** How letters are dropped, with a reason: by their owner's app alone, so on the command line. */
export function drop(app, type, places, reason, typed) {
  const shown = places.slice(0, AT_ONCE);
  const lines = shown.map((place) => `faust -A ${app || `<app of ${type}>`} dead-letters drop ${type} ${place} --reason ${quoted(reason.replace(/[\p{C}\p{Z}]+/gu, " ") || "..")}`);
  return h("details", {}, h("summary", {}, "Drop…"),
    h("div.stack", {},
      h("p.soft.small", {}, "For good. An aggregate that is in quarantine for it goes on without it. Only who may write to the dead letters drops them, and the worker of this page may not: run this."),
      h("label", {}, "Why", h("input", { maxlength: "300", autocomplete: "off", value: reason, oninput: ({ target }) => typed(target.value) })),
      command(lines.join("\n")),
      places.length > shown.length ? h("p.soft.small", {}, `And ${count(places.length - shown.length, "more letter")} after these.`) : null));
}

/** For a shell, as it is. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Whether a text may be put into a shell: a stranger's may hold what a terminal acts on. */
export const isPlain = (text) => !/[\p{C}\p{Zl}\p{Zp}]/u.test(text);

function* parts(places) {
  for (let at = 0; at < places.length; at += AT_ONCE) yield places.slice(at, at + AT_ONCE);
}
