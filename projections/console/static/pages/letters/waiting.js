/** What would become of the commands that wait for an aggregate in quarantine, if it were released now. */

import { get, path } from "../../shell/api.js";
import { h } from "../../shell/dom.js";
import { count, number } from "../../shell/format.js";
import { badge, mono, problem } from "../../shell/parts.js";
import { TONE, WOULD } from "./orders.js";

export class Waiting {
  constructor(view, draw) {
    Object.assign(this, { view, draw, of: null, found: null, fault: null });
  }

  async try(type, id) {
    Object.assign(this, { of: { type, id }, found: null, fault: null });
    try {
      const { body } = await get(path`quarantine/${type}/dry-run`, { signal: this.view.signal, query: { id } });
      this.found = body;
    } catch (error) {
      if (this.view.signal.aborted) return;
      this.fault = error;
    }
    this.draw();
  }

  verdict() {
    const { of, found, fault } = this;
    const said = !of || !found ? null : h("div.stack.tight.said-so", { "data-tone": found.again ? "bad" : "good" },
      h("p", {}, h("strong", {}, this.inShort())),
      found.tried.map((each) => h("p.small", { key: each.command_id },
        badge(WOULD[each.status], TONE[each.status]), " ", each.command || "Unreadable command", " ", mono(each.command_id, { class: "mono long" }),
        each.error ? `: ${each.error.type}: ${each.error.message}` : null)),
      found.again ? h("p.small", {}, "It would be in quarantine again from that one on, and those behind it would wait.") : null,
      h("p.soft.small", {}, "Tried one after the other over what the aggregate is now; nothing was written."));
    return h("div.stack", { key: "waiting", "aria-live": "polite" }, fault && problem(fault), said);
  }

  /** "2 of 3 would be accepted now". */
  inShort() {
    const { tried, waiting } = this.found;
    const accepted = tried.filter(({ status }) => status === "accepted").length;
    const { type, id } = this.of;
    if (!waiting) return `No command waits for ${type} ${id}.`;
    return `${number(accepted)} of ${count(tried.length, "command")} that wait for ${type} ${id} would be accepted now${tried.length < waiting ? `; ${number(waiting - tried.length)} more were not tried` : ""}.`;
  }
}
