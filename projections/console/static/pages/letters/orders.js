/** What is done to dead letters: tried dry, sent again or dropped, so many at once as the route takes; and the release of an aggregate. */

import { get, path, post } from "../../shell/api.js";
import { h } from "../../shell/dom.js";
import { count } from "../../shell/format.js";
import { button, command, confirm, say } from "../../shell/parts.js";

const AT_ONCE = 20;
export const TONE = { accepted: "good", rejected: "warn", failed: "bad" };
export const WOULD = { accepted: "would be accepted", rejected: "would be rejected", failed: "would fail again" };

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

/** A button that has letters dropped by their owner, when a reason is given. `done()` is called when it is known what came of it. */
export function dropButton(view, type, places, text, attributes = {}, done = () => {}) {
  const ask = async () => {
    const found = await confirm({
      title: `Drop ${count(places.length, "dead letter")} of ${type}?`,
      about: "For good: nobody can send the commands again from here. An aggregate that is in quarantine for one of them goes on without it.",
      label: "Drop",
      reason: true,
      act: async (reason) => {
        const all = { dropped: [], pending: [] };
        for (const some of parts(places)) {
          const { body } = await post(path`dead-letters/${type}/drop`, { places: some, reason });
          all.dropped.push(...body.dropped);
          all.pending.push(...body.pending);
        }
        return all;
      },
    });
    if (!found || view.signal.aborted) return;
    say(found.pending.length
      ? `${count(found.pending.length, "letter")} will be dropped when the owner gets to it.`
      : `${count(found.dropped.length, "letter")} dropped.`);
    done(found);
  };
  return button(text, ask, attributes);
}

/** A button that lets an aggregate go on without the command that it is in quarantine for, when a reason is given. */
export function releaseButton(view, { type, id, command_id: commandId, waiting }) {
  const ask = async () => {
    const found = await confirm({
      title: `Release ${type} ${id}?`,
      about: `It goes on without the command that raised, and ${waiting === 1 ? "the command that waits is" : `the ${count(waiting, "command")} that wait are`} decided in order. The dead letter stays until it is dropped.`,
      label: "Release",
      reason: true,
      act: (reason) => post(path`quarantine/${type}/release`, { id, command_id: commandId, reason }),
    });
    if (!found || view.signal.aborted) return;
    say(found.body.released ? `${type} ${id} goes on.` : `${type} ${id} goes on when the owner gets to it.`);
  };
  return button("Release…", ask, { "aria-label": `Release ${id}` });
}

/** How letters are dropped where their owner takes no orders from here: on the command line. */
export function dropLines(app, type, places, reason, typed) {
  const shown = places.slice(0, AT_ONCE);
  const lines = shown.map((place) => `faust -A ${app || `<app of ${type}>`} dead-letters drop ${type} ${place} --reason ${quoted(reason.replace(/[\p{C}\p{Z}]+/gu, " ") || "..")}`);
  return h("details", {}, h("summary", {}, "Drop…"),
    h("div.stack", {},
      h("p.soft.small", {}, "For good. An aggregate that is in quarantine for it goes on without it. Nobody sends commands of this type from here, orders to its owner neither: run this."),
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
