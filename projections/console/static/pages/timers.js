/** Timers: those that are pending, the next one first; which are late; and their end before their time. */

import { get, path, post } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { ago, count, duration, secondsSince, when } from "../shell/format.js";
import { badge, button, confirm, empty, head, mono, say, table } from "../shell/parts.js";
import { link } from "../shell/routes.js";
import { system } from "../shell/system.js";

const TYPE = "timer";
const PAGE = 50;
const LATE_SECONDS = 10;
const ABOUT = "A timer sends a command when its time has come, once, unless it is cancelled before.";

export default async function show(view) {
  const known = await system(view.signal);
  if (!known.types.has(TYPE)) return render(view.main, head("Timers", ABOUT), empty("This app has no timers."));
  const mayCancel = known.types.get(TYPE).commands.has("CancelTimer");
  const again = view.live({
    seconds: 3,
    ask: (signal) => get("timers", { signal, query: { limit: PAGE, after: view.query.get("after") } }),
    show: ({ body }) => showTimers(view, body, mayCancel, () => again()),
  });
}

function showTimers(view, { timers, next }, mayCancel, again) {
  const late = timers.filter(isLate);
  const after = view.query.get("after");
  render(view.main,
    head("Timers", ABOUT),
    late.length
      ? h("p", { key: "late" }, badge(`${count(late.length, "timer")} late`, "warn"), ` The first was due ${ago(late[0].due)}. Commands of timers are decided by the `, h("a", { href: link("logs") }, "owners of timers"), ".")
      : null,
    timers.length
      ? table("Timers that are pending", columns(mayCancel, again), timers, { key: (timer) => timer.id })
      : empty(after ? "There are no more." : "No timer is pending."),
    h("nav.row", { "aria-label": "More timers" },
      after ? h("a.button", { href: link("timers", {}) }, "The first ones") : null,
      next ? h("a.button", { href: link("timers", { after: next }) }, "Later ones") : null));
}

const isLate = (timer) => secondsSince(timer.due) > LATE_SECONDS;

function columns(mayCancel, again) {
  const cancel = {
    title: "Orders",
    cell: (timer) => button("Cancel…", () => cancelIt(timer, again), { "aria-label": `Cancel ${timer.id}` }),
  };
  return [
    { title: "Due", cell: (timer) => [when(timer.due), " ", isLate(timer) ? badge(`late by ${duration(secondsSince(timer.due))}`, "warn") : h("span.soft.small", {}, ago(timer.due))] },
    { title: "Timer", head: true, cell: (timer) => h("a", { href: link("aggregate", TYPE, timer.id) }, mono(timer.id, { class: "mono long" })) },
    { title: "Sends", cell: (timer) => timer.command },
    { title: "To", cell: (timer) => h("a", { href: link("aggregate", timer.to, timer.to_id) }, `${timer.to} ${timer.to_id}`) },
    { title: "Story", cell: (timer) => h("a", { href: link("story", timer.position), "aria-label": `Story of ${timer.id}` }, "Story") },
    ...(mayCancel ? [cancel] : []),
  ];
}

async function cancelIt(timer, again) {
  const done = await confirm({
    title: `Cancel the timer ${timer.id}?`,
    about: `${timer.command} is not sent to ${timer.to} ${timer.to_id}, unless the timer fires before the cancelling is decided. Whoever has scheduled the timer is not told.`,
    label: "Cancel the timer",
    act: () => post(path`timers/${timer.id}/commands`, { type: "CancelTimer", data: {} }),
  });
  if (done) say(done.status === 202 ? "Sent; there is no reply yet." : "The timer is cancelled.");
  again();
}
