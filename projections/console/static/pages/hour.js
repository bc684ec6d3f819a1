/** The last hour in plots, where the app keeps it. */

import { Problem, get } from "../shell/api.js";
import { plot } from "../shell/chart.js";
import { h } from "../shell/dom.js";
import { duration, rate } from "../shell/format.js";

const SECONDS = 10;

/** An element that is kept up to date, empty until something is known. `marks` gives moments to be seen, `{at, text}`. */
export function lastHour(view, marks = () => []) {
  const place = h("div.plots", {});
  let plots = null;
  view.live({
    seconds: SECONDS,
    ask: read,
    show(body) {
      if (!body) return;
      plots ??= made();
      if (!place.firstChild) place.append(...plots);
      for (const each of plots) each.update({ ...body, marks: marks() });
    },
  });
  return place;
}

/** The figures; null of an app that does not keep them. */
async function read(signal) {
  try {
    return (await get("figures", { signal })).body;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

function made() {
  return [
    plot({
      title: "Commands a second", format: rate,
      series: [{ name: "decided", key: "commands", tone: "note" }, { name: "requests", key: "requests", tone: "quiet" }],
    }),
    plot({
      title: "Waiting", format: duration,
      series: [
        { name: "a command, 99 %", key: "command_p99", tone: "warn" }, { name: "half of them", key: "command_p50", tone: "note" },
        { name: "visible, 99 %", key: "visible_p99", tone: "quiet" },
      ],
    }),
    plot({ title: "Lag of the table that is furthest behind", format: duration, series: [{ name: "age", key: "lag_seconds", tone: "warn" }] }),
  ];
}
