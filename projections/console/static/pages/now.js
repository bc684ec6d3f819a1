/** Now: whether all is well, and else what is wrong and the one thing to do about each. */

import { get, post } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { ago, count, number, since } from "../shell/format.js";
import { badge, button, command, confirm, say } from "../shell/parts.js";
import { link } from "../shell/routes.js";
import { lastHour } from "./hour.js";

const TONE = { act: "bad", look: "warn", note: "note", well: "good" };
const URGENCY = { act: "Act now", look: "Look", note: "To know" };
const SIGN = { well: "✓", look: "!", act: "✕" };

export default function show(view) {
  const hour = lastHour(view);
  const again = view.live({
    seconds: 2,
    ask: (signal) => get("findings", { signal }),
    show: ({ body }) => {
      view.title(sentence(body));
      render(view.main, verdict(body), list(body, () => again()), checks(body), hour);
    },
  });
}

function sentence({ verdict: word, findings, more }) {
  if (word === "well") return "All is well";
  const urgent = findings.filter((finding) => finding.severity === "act").length;
  const rest = findings.filter((finding) => finding.severity === "look").length + more;
  if (!urgent) return rest === 1 ? "One thing to look at" : `${number(rest)} things to look at`;
  return urgent === 1 ? "One thing needs you now" : `${number(urgent)} things need you now`;
}

function verdict(found) {
  const looked = found.checks.filter((check) => !check.fault).length;
  return h("section.verdict", { "data-tone": TONE[found.verdict], "aria-live": "polite" },
    h("span.sign", { "aria-hidden": "true" }, SIGN[found.verdict]),
    h("div", {},
      h("h1", {}, `${sentence(found)}.`),
      h("p.soft", {}, looked === found.checks.length
        ? `All ${count(looked, "part")} of the system were looked at, ${ago(found.at)}.`
        : `${looked} of ${count(found.checks.length, "part")} of the system could be looked at, ${ago(found.at)}.`)));
}

function list({ findings, more }, again) {
  if (!findings.length) return null;
  return h("section.stack", {},
    h("h2.hidden", {}, "Findings"),
    h("ol.findings", {}, findings.map((finding) => card(finding, again))),
    more ? h("p.soft", {}, `And ${number(more)} more.`) : null);
}

function card(finding, again) {
  const { remedy } = finding;
  return h("li.card.finding", { key: finding.id, "data-tone": TONE[finding.severity] },
    h("div.stack", {},
      h("div.row.what", {},
        badge(URGENCY[finding.severity], TONE[finding.severity]),
        h("h3", {}, finding.title)),
      finding.detail ? h("p.detail", {}, finding.detail) : null,
      h("p.soft.small", {}, "Since ", since(finding.since), concerned(finding))),
    h("div.remedy.stack", {},
      h("p", {}, remedy.text, /^(dead-letters|quarantine):/.test(finding.id) ? [" ", h("a", { href: link("letters") }, "Look at them.")] : null),
      remedy.orders.length || remedy.command
        ? h("div.row", {}, remedy.orders.map((order) => orderButton(order, again)), remedy.command ? command(remedy.command) : null)
        : null));
}

function concerned({ concerns }) {
  const shown = concerns.slice(0, 4).map(({ kind, name }) => [", ", kind, " ", linked(kind, name)]);
  return [shown, concerns.length > 4 ? ` and ${number(concerns.length - 4)} more` : null];
}

function linked(kind, name) {
  const [type, ...id] = name.split(" ");
  const targets = {
    aggregate: () => link("aggregate", type, id.join(" ")),
    table: () => link("tables"), projection: () => link("tables"),
    log: () => link("logs"), context: () => link("logs"),
  };
  const text = h("span.mono", {}, name);
  return targets[kind] ? h("a", { href: targets[kind]() }, text) : text;
}

function orderButton(order, again) {
  const give = () =>
    confirm({
      title: order.label,
      about: order.about,
      reason: order.reason,
      label: order.label,
      act: (reason) => post(order.path, order.reason ? { ...order.body, reason } : order.body),
    }).then((done) => {
      if (done) say(`${order.label}: done.`);
      again();
    });
  return button(order.label, give);
}

function checks({ checks: parts }) {
  return h("section.stack", {},
    h("h2", {}, "What was looked at"),
    h("ul.checks", {}, parts.map((check) =>
      h("li", { "data-tone": check.fault ? "warn" : check.findings ? "note" : "good", title: check.fault || null },
        h("span.dot", { "aria-hidden": "true" }),
        h("span", {}, check.name),
        h("span.soft.small", {}, check.fault ? "not looked at" : check.findings ? count(check.findings, "finding") : "well")))));
}
