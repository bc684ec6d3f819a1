/** Dead letters that failed alike: what they are, what would be said to them now, and each of them. */

import { get, path } from "../../shell/api.js";
import { h } from "../../shell/dom.js";
import { count, number, since } from "../../shell/format.js";
import { badge, button, mono, problem } from "../../shell/parts.js";
import { tree } from "../../shell/diff.js";
import { link } from "../../shell/routes.js";
import { TONE, WOULD, dropButton, dropLines, retryButton, tryDry } from "./orders.js";

const SHOWN = 20;

export class Group {
  constructor(view, key, draw) {
    Object.assign(this, { view, key, draw, tried: new Map(), originals: new Map(), sent: new Set() });
    this.shown = SHOWN;
    this.reason = "";
    this.fault = null;
    this.isTrying = false;
  }

  /** Have the group as it was found now. */
  now(found, { apps, retried, dropped }) {
    Object.assign(this, found, { app: apps[found.type], canRetry: retried.includes(found.type), canDrop: dropped.includes(found.type) });
    return this;
  }

  card() {
    const { type, command, failure, line, message, places, first, last } = this;
    const name = command || "Unreadable command";
    return h("article.card.stack.letters", { key: this.key, "aria-label": `${name} of ${type}: ${failure} ${line}`.trim() },
      h("div.row.between", {}, h("h3", {}, `${name} of ${type}`), badge(count(places.length, "letter"), "bad")),
      h("p", {}, h("strong", {}, failure), line ? [" at ", mono(line)] : null, message ? `: ${message}` : null),
      h("p.soft.small", {}, places.length > 1 ? ["The first ", since(first), ", the last "] : null, since(last)),
      h("div.row", {},
        button(places.length > 1 ? "Try all dry" : "Try dry", () => this.try(places), { disabled: this.isTrying }),
        this.canRetry ? this.retry(places, places.length > 1 ? "Retry all…" : "Retry…") : null,
        this.retryAccepted(),
        this.canDrop ? dropButton(this.view, type, places, places.length > 1 ? "Drop all…" : "Drop…") : null),
      h("div.stack", { "aria-live": "polite" }, this.fault && problem(this.fault), this.verdict()),
      this.letters(),
      this.canDrop ? null : dropLines(this.app, type, places, this.reason, (reason) => {
        this.reason = reason;
        this.draw();
      }));
  }

  retry(places, text, attributes) {
    return retryButton(this.view, this.type, places, text, attributes, ({ sent }) => {
      for (const place of sent) this.sent.add(place);
      this.draw();
    });
  }

  retryAccepted() {
    const accepted = this.places.filter((place) => this.tried.get(place)?.status === "accepted" && !this.sent.has(place));
    if (!this.canRetry || !accepted.length || accepted.length === this.places.length) return null;
    return this.retry(accepted, `Retry the ${number(accepted.length)} that would be accepted…`);
  }

  async try(places) {
    this.isTrying = true;
    this.fault = null;
    for (const place of places) this.tried.delete(place);
    try {
      await tryDry(this.view, this.type, places, (letters) => {
        for (const letter of letters) this.tried.set(letter.place, letter);
        this.draw();
      });
    } catch (error) {
      if (this.view.signal.aborted) return;
      this.fault = error;
    }
    this.isTrying = false;
    this.draw();
  }

  /** "37 of 40 would be accepted now", and why the others would not. */
  verdict() {
    const tried = this.places.map((place) => this.tried.get(place)).filter(Boolean);
    if (!tried.length) return null;
    const accepted = tried.filter(({ status }) => status === "accepted").length;
    const whys = new Map();
    for (const { status, error } of tried) {
      const why = error && `${WOULD[status]}, ${error.type}: ${error.message}`;
      if (why) whys.set(why, (whys.get(why) ?? 0) + 1);
    }
    return h("div.stack.tight.said-so", { "data-tone": accepted === tried.length ? "good" : "warn" },
      h("p", {}, h("strong", {}, `${number(accepted)} of ${number(tried.length)} would be accepted now`), this.isTrying ? " so far" : "."),
      [...whys].slice(0, 10).map(([why, times]) => h("p.small", {}, `${number(times)} ${why}`)),
      h("p.soft.small", {}, "Each was tried by itself over what its aggregate is now; nothing was written. Its owner also knows ids that were used before."));
  }

  letters() {
    const { places, shown } = this;
    return h("details", {}, h("summary", {}, places.length > 1 ? "The letters" : "The letter"),
      h("ul.stack", {}, places.slice(0, shown).map((place) => this.letter(place))),
      places.length > shown ? h("div.row", {}, button("More", () => ((this.shown += SHOWN), this.draw()))) : null);
  }

  letter(place) {
    const { type, originals } = this;
    const tried = this.tried.get(place);
    return h("li.stack.tight", { key: place },
      h("div.row", {},
        mono(place),
        tried ? badge(WOULD[tried.status], TONE[tried.status]) : null,
        this.sent.has(place) ? badge("sent again", "note") : null,
        button(originals.has(place) ? "Hide" : "Show", () => this.original(place), { "aria-label": `Show ${place}`, "aria-expanded": String(originals.has(place)) }),
        button("Try dry", () => this.try([place]), { "aria-label": `Try ${place} dry`, disabled: this.isTrying }),
        this.canRetry ? this.retry([place], "Retry…", { "aria-label": `Retry ${place}` }) : null,
        this.canDrop && this.places.length > 1 ? dropButton(this.view, type, [place], "Drop…", { "aria-label": `Drop ${place}` }) : null),
      originals.has(place) ? original(type, originals.get(place)) : null);
  }

  async original(place) {
    if (!this.originals.delete(place)) {
      this.fault = null;
      try {
        const { body } = await get(path`dead-letters/${this.type}/at/${place}`, { signal: this.view.signal });
        this.originals.set(place, body);
      } catch (error) {
        if (this.view.signal.aborted) return;
        this.fault = error;
      }
    }
    this.draw();
  }
}

/** The command as it came, and where the code raised. */
function original(type, { key, headers, value, failure }) {
  return h("div.card.stack", {},
    key === null ? null : h("p", {}, "To ", h("a", { href: link("aggregate", type, key) }, `${type} ${key}`)),
    h("div", {}, h("h4", {}, "Command"), tree(value)),
    h("div", {}, h("h4", {}, "Headers"), tree(headers)),
    failure.position ? h("p.soft.small", {}, "It came at ", mono(failure.position)) : null,
    failure.trace.length ? h("pre.trace", { tabindex: "0", "aria-label": "Trace" }, failure.trace.join("\n")) : null);
}
