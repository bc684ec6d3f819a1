/** The stepper: one row of a projection, event by event, before and after; made anew by the code of now, and nothing is written. */

import { get, path } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { count, number, when } from "../shell/format.js";
import { badge, button, chooserOf, empty, head, mono, stepOf } from "../shell/parts.js";
import { changes, tree } from "../shell/diff.js";
import { link } from "../shell/routes.js";
import { system } from "../shell/system.js";

const ABOUT = "One row as the code of this worker makes it of the events of one aggregate. Nothing is read of a table, and nothing is written.";
const PAGE = 50;
const MOST = 1000;

export default async function show(view) {
  const [known, { body }] = await Promise.all([system(view.signal), get("projections", { signal: view.signal })]);
  const projections = body.projections.filter(({ version, source }) => version !== null && known.types.get(source)?.isRead);
  const [name, id] = view.parts;
  const top = [head("Step through a projection", ABOUT), chooser(projections, name, id ?? "")];
  if (!name || !id) return render(view.main, top, projections.length ? null : empty("There is no projection whose events are read here."));
  const projection = projections.find((each) => each.name === name);
  if (!projection) return render(view.main, top, empty(`There is no projection ${name}.`));
  view.title(`${name} of ${id}`);
  const stepper = new Stepper(view, known.types.get(projection.source), name, id);
  render(view.main, top, stepper.place);
  return stepper.more();
}

const chooser = (projections, name, id) => chooserOf({
  name: "projection", label: "Projection", placeholder: "id of the aggregate", id,
  options: projections.map((each) => h("option", { value: each.name, selected: each.name === name }, `${each.name} (of ${each.source})`)),
  go: (chosen, of) => { location.hash = link("steps", chosen, of); },
});

class Stepper {
  constructor(view, type, projection, id) {
    Object.assign(this, { view, type, projection, id, steps: [], rows: [], next: 0, page: null });
    this.at = Number(view.query.get("at")) || 0;
    this.onlyChanged = view.query.has("changed");
    this.place = h("div.stack.parts", {});
    addEventListener("keydown", (event) => this.key(event), { signal: view.signal });
  }

  /** Have the next page; up to the step that the address names. */
  async more() {
    do {
      const query = { projection: this.projection, key: this.view.query.get("key"), after: this.next, limit: PAGE };
      const { body } = await get(path`${this.type.collection}/${this.id}/steps`, { signal: this.view.signal, query });
      if (!this.rows.length) this.rows.push(body.before);
      this.page = body;
      this.steps.push(...body.steps);
      this.rows.push(...body.steps.map(({ row }) => row));
      this.next = body.next;
    } while (this.next !== null && this.steps.length < Math.min(this.at, MOST));
    this.show();
  }

  get chosen() {
    return Math.max(1, Math.min(this.at || 1, this.steps.length));
  }

  async go(at) {
    if (at > this.steps.length && this.next !== null && this.steps.length < MOST) await this.view.act(() => this.more());
    this.at = Math.max(1, Math.min(at, this.steps.length));
    this.view.remember({ at: this.at });
    this.show();
  }

  key(event) {
    const step = stepOf(event);
    if (step) this.go(this.chosen + step);
  }

  show() {
    const { page, steps, chosen } = this;
    if (!steps.length) return render(this.place, empty("None of its events touches this row."));
    return render(this.place, this.about(), this.moment(),
      h("div.life", { key: "life" }, this.list(),
        h("section.state.stack", { "aria-label": "Row" }, h("div.row.between", {},
          h("h2", {}, `Row after step ${number(chosen)}`),
          h("label.inline.small", {}, h("input", { type: "checkbox", checked: this.onlyChanged, onchange: ({ target }) => this.fold(target.checked) }), "only what differs")),
          h("div.card.stack", {}, this.difference(steps[chosen - 1], this.rows[chosen - 1], this.rows[chosen])))),
      page.more ? h("p.soft.small", { key: "more" }, "The aggregate has more events than are looked at.") : null);
  }

  about() {
    const { page, view } = this;
    const choose = ({ target }) => (location.hash = link("steps", this.projection, this.id, { key: target.value }));
    return h("div.stack.tight", { key: "about" },
      h("p", {}, h("strong", {}, this.projection), `, version ${number(page.version)}, the row `, mono(page.key, { class: "mono long" }), ` of `,
        h("a", { href: link("aggregate", page.type, page.id) }, `${page.type} ${page.id}`)),
      page.keys.length > 1
        ? h("label.inline.small", {}, "Other rows that its events touch", h("select", { onchange: choose }, page.keys.map((key) => h("option", { value: key, selected: key === page.key }, key))))
        : null,
      page.partial ? h("p.soft.small", {}, "Other aggregates may add to this row: what is shown is what this one has brought.") : null);
  }

  moment() {
    const { steps, chosen, next } = this;
    const step = steps[chosen - 1];
    return h("section.moment.stack", { key: "moment", "aria-label": "The step" },
      h("div.row.between", {},
        h("p", {}, h("strong", {}, step.types.join(", ") || "Nothing any more"), h("span.soft", {}, ` · step ${number(chosen)} of ${number(steps.length)}${next === null ? "" : " and more"} · event ${number(step.sequence)} · `), when(step.time)),
        h("div.row", {},
          button("‹ Before", () => this.go(chosen - 1), { disabled: chosen <= 1, title: "k" }),
          button("After ›", () => this.go(chosen + 1), { disabled: chosen >= steps.length && (next === null || steps.length >= MOST), title: "j" }))),
      h("input", {
        type: "range", min: 1, max: steps.length, value: String(chosen), oninput: ({ target }) => this.go(Number(target.value)),
        "aria-label": "Step", "aria-valuetext": `step ${chosen}, ${step.types.join(", ")}`,
      }));
  }

  list() {
    const { steps, chosen, next } = this;
    const start = Math.max(0, Math.min(chosen - PAGE, steps.length - 2 * PAGE));
    const shown = steps.slice(start, start + 2 * PAGE);
    return h("section.stack", { "aria-label": "Steps" },
      h("div.row.between", {}, h("h2", {}, "Steps"), h("span.soft.small", {}, h("kbd", {}, "k"), " before, ", h("kbd", {}, "j"), " after")),
      h("ol.events", {}, start ? h("li.soft.small", {}, `${number(start)} before`) : null,
        shown.map((step, index) => this.entry(step, start + index + 1)),
        steps.length > start + shown.length || next !== null ? h("li.soft.small", {}, "and more after") : null));
  }

  entry(step, number_) {
    const isChosen = number_ === this.chosen;
    const differs = changes(this.rows[number_ - 1], this.rows[number_]).length;
    const mark = step.error ? badge("raises", "bad") : step.skipped !== null ? badge("left out", "warn") : h("span.soft.small", {}, differs ? `${count(differs, "place")}` : "no change");
    return h("li", { key: step.position, "data-chosen": isChosen ? "" : null },
      h("button", { type: "button", onclick: () => this.go(number_), "aria-current": isChosen ? "true" : null },
        h("span.nr", {}, number(step.sequence)), h("span.what", {}, h("strong", {}, step.types.join(", ") || "Nothing any more")), mark),
      isChosen ? h("div.details.stack", {}, step.events.map((event) => tree(event)), h("p.soft.small", {}, "at ", mono(step.position))) : null);
  }

  difference(step, before, after) {
    if (step.error) return [h("p", {}, badge("raises", "bad"), " ", step.error), h("p.soft.small", {}, "A table has the row wait here, and all later events of it.")];
    if (step.skipped !== null) return h("p", {}, badge("left out", "warn"), " ", step.skipped);
    if (after === null) return before === null ? h("p.soft", {}, "There is no row.") : [h("p", {}, "The row is gone. It was:"), tree(before)];
    const differs = before === null ? null : changes(before, after).length;
    return [
      h("p.soft.small", {}, differs === null ? "The row begins here." : differs ? `${count(differs, "place")} differ${differs === 1 ? "s" : ""} from before.` : "The same as before."),
      tree(after, before ?? {}, { onlyChanged: this.onlyChanged }),
    ];
  }

  fold(isFolded) {
    this.onlyChanged = isFolded;
    this.view.remember({ changed: isFolded ? "1" : null });
    this.show();
  }
}
