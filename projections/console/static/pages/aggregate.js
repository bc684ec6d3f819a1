/** Aggregate: the life of one, event by event; what its tables show; and what it would say to a command. */

import { Problem, get, path } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { count, number, since, when } from "../shell/format.js";
import { button, chooserOf, empty, head, mono, stepOf } from "../shell/parts.js";
import { changes, isSame, tree } from "../shell/diff.js";
import { link } from "../shell/routes.js";
import { system } from "../shell/system.js";
import { commandPanel } from "./aggregate/command.js";
import { rowsPanel } from "./aggregate/rows.js";

const MOST_EVENTS = 2000;
const PAGE = 1000;
const EVENTS_SHOWN = 400;
const FIRST = "first";

export default async function show(view) {
  const known = await system(view.signal);
  const [name, id] = view.parts;
  if (!name || !id) return render(view.main, head("Aggregate", "The life of one aggregate, event by event."), chooser(known, name, id));
  const type = known.types.get(name);
  if (!type) return render(view.main, head("Aggregate"), chooser(known, name, id), empty(`There is no type ${name}.`));
  view.title(`${name} ${id}`);
  const life = new Life(view, known, type, id);
  return life.begin();
}

function chooser(known, name, id) {
  const types = [...known.types.values()].filter((type) => type.isRead);
  return chooserOf({
    name: "type", label: "Type", placeholder: "id", id: id ?? "",
    options: types.map((type) => h("option", { value: type.type, selected: type.type === name }, type.type)),
    go: (chosen, of) => { location.hash = link("aggregate", chosen, of); },
  });
}

class Life {
  constructor(view, known, type, id) {
    Object.assign(this, { view, known, type, id, events: [], hasMore: false, states: new Map() });
    this.at = Number(view.query.get("at")) || null; // null: the newest, whichever that is
    this.against = view.query.get("against"); // null: the one before
    this.onlyChanged = view.query.has("changed");
    this.top = h("div.stack", {});
    this.moment = h("section.moment.stack", { "aria-label": "The moment" });
    this.body = h("div.life", {});
    this.below = h("div.stack.parts", {});
  }

  async begin() {
    const { view } = this;
    render(view.main, this.top, this.moment, this.body, this.below);
    this.showTop();
    view.live({
      seconds: 2,
      ask: (signal) => this.more(signal),
      show: (isNew) => {
        if (isNew || !this.isShown) this.show();
        this.isShown = true;
      },
    });
    addEventListener("keydown", (event) => this.key(event), { signal: view.signal });
    render(this.below, rowsPanel(view, this.type, this.id, () => this.newest), commandPanel(view, this));
  }

  get newest() {
    return this.events.length ? this.events.at(-1).sequence : 0;
  }

  get chosen() {
    return Math.min(this.at ?? this.newest, this.newest);
  }

  get compared() {
    if (this.against === FIRST) return 1;
    return this.against === null ? this.chosen - 1 : Math.min(Number(this.against), this.newest);
  }

  /** Read what has come; whether there was something, or nothing was shown yet. */
  async more(signal) {
    const was = this.events.length;
    do {
      const page = await this.page(signal);
      this.events.push(...page.events);
      this.hasMore = page.next !== null;
    } while (this.hasMore && this.events.length < MOST_EVENTS);
    return this.events.length > was;
  }

  /** The events behind those that are known; none of an aggregate that does not exist. */
  async page(signal) {
    if (this.events.length >= MOST_EVENTS) return { events: [], next: this.newest };
    try {
      return (await get(path`${this.type.collection}/${this.id}/history`, { signal, query: { after: this.newest, limit: PAGE } })).body;
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return { events: [], next: null };
      throw error;
    }
  }

  go(sequence) {
    const wanted = Math.max(1, Math.min(sequence, this.newest));
    this.at = wanted === this.newest ? null : wanted;
    this.view.remember({ at: this.at });
    this.show();
  }

  key(event) {
    const step = stepOf(event);
    if (step) this.go(this.chosen + step);
  }

  showTop() {
    const { type, id } = this;
    render(this.top,
      head(h("span", {}, h("span.soft", {}, `${type.type} `), mono(id)), null, chooser(this.known, type.type, id)));
  }

  show() {
    this.changed?.();
    if (!this.newest) {
      render(this.moment, h("p", {}, `There is no ${this.type.type} of this id yet.`));
      return;
    }
    this.showMoment();
    render(this.body, this.list(), h("section.state.stack", { "aria-label": "State" }, this.stateHead(), this.stateBox ??= h("div.card", {})));
    this.showState();
  }

  showMoment() {
    const event = this.events[this.chosen - 1];
    const slide = ({ target }) => this.go(Number(target.value));
    render(this.moment,
      h("div.row.between", {},
        h("p", {}, h("strong", {}, event.type), h("span.soft", {}, ` · event ${number(this.chosen)} of ${number(this.newest)}${this.hasMore ? " and more" : ""} · `), when(event.time)),
        h("div.row", {},
          button("‹ Before", () => this.go(this.chosen - 1), { disabled: this.chosen <= 1, title: "k" }),
          button("After ›", () => this.go(this.chosen + 1), { disabled: this.chosen >= this.newest, title: "j" }))),
      h("input", {
        type: "range", min: 1, max: Math.max(this.newest, 1), value: String(this.chosen), oninput: slide,
        "aria-label": "Moment", "aria-valuetext": `event ${this.chosen}, ${event.type}`,
      }));
  }

  list() {
    const start = Math.max(0, Math.min(this.chosen - EVENTS_SHOWN / 2, this.events.length - EVENTS_SHOWN));
    const shown = this.events.slice(start, start + EVENTS_SHOWN);
    return h("section.stack", { "aria-label": "Events" },
      h("div.row.between", {}, h("h2", {}, "Events"), h("span.soft.small", {}, h("kbd", {}, "k"), " before, ", h("kbd", {}, "j"), " after")),
      h("ol.events", {}, start ? h("li.soft.small", {}, `${number(start)} before`) : null,
        shown.map((event) => this.entry(event)),
        this.events.length > start + shown.length ? h("li.soft.small", {}, `${number(this.events.length - start - shown.length)} after`) : null));
  }

  entry(event) {
    const isChosen = event.sequence === this.chosen;
    return h("li", { key: event.sequence, "data-chosen": isChosen ? "" : null },
      h("button", { type: "button", onclick: () => this.go(event.sequence), "aria-current": isChosen ? "true" : null },
        h("span.nr", {}, number(event.sequence)),
        h("span.what", {}, h("strong", {}, event.type), h("span.soft.small.gist", {}, gist(event.data))),
        h("span.soft.small", {}, since(event.time))),
      isChosen ? this.details(event) : null);
  }

  details(event) {
    const line = (title, ...value) => [h("dt.soft", {}, title), h("dd.mono", {}, value)];
    return h("div.details.stack", {},
      tree(event.data),
      event.reads_as ? h("div", {}, h("p.soft.small", {}, "Read today as"), tree(event.reads_as)) : null,
      h("dl.facts.small", {},
        line("when", when(event.time)),
        line("command", h("a", { href: link("story", event.position) }, event.command_id)),
        event.principal ? line("sent by", event.principal, event.on_behalf_of ? ` for ${event.on_behalf_of}` : "") : null,
        line("correlation", event.correlation_id),
        line("position", event.position),
        line("schema", event.schema ?? "unreadable")));
  }

  stateHead() {
    const options = [["", "the one before"], [FIRST, "the first one"]];
    const other = this.against !== null && this.against !== FIRST ? this.against : "";
    const choose = ({ target }) => {
      this.against = target.value === "" ? null : target.value;
      this.view.remember({ against: this.against });
      this.show();
    };
    return h("div.row.between", {},
      h("h2", {}, `State after event ${number(this.chosen)}`),
      h("div.row.small", {},
        h("label.inline", {}, "beside", h("select", { onchange: choose },
          options.map(([value, text]) => h("option", { value, selected: value === (this.against ?? "") }, text)),
          other ? h("option", { value: other, selected: true }, `event ${other}`) : null)),
        button(`Keep event ${number(this.chosen)} to compare`, () => this.keep(), { class: "button bare" }),
        h("label.inline", {}, h("input", { type: "checkbox", checked: this.onlyChanged, onchange: ({ target }) => this.fold(target.checked) }), "only what differs")));
  }

  keep() {
    this.against = String(this.chosen);
    this.view.remember({ against: this.against });
    this.show();
  }

  fold(isFolded) {
    this.onlyChanged = isFolded;
    this.view.remember({ changed: isFolded ? "1" : null });
    this.showState();
  }

  /** Show the state of the chosen moment; of a slider that is drawn, that where it rests. */
  showState() {
    const { chosen, compared } = this;
    clearTimeout(this.waiting);
    const isKnown = this.states.has(chosen) && (compared < 1 || this.states.has(compared));
    this.waiting = setTimeout(() => this.view.act(() => this.fillState(chosen, compared)), isKnown ? 0 : 120);
  }

  async fillState(chosen, compared) {
    const [after, before] = await Promise.all([this.state(chosen), compared >= 1 ? this.state(compared) : null]);
    if (chosen !== this.chosen || compared !== this.compared) return;
    const differs = before === null ? null : changes(before, after).length;
    render(this.stateBox,
      h("p.soft.small", {}, differs === null ? "The first one." : differs ? `${count(differs, "place")} differ${differs === 1 ? "s" : ""} from event ${number(compared)}.` : `The same as after event ${number(compared)}.`),
      before !== null && isSame(before, after) && this.onlyChanged ? null : tree(after, before ?? after, { onlyChanged: this.onlyChanged && before !== null }));
  }

  async state(sequence) {
    if (!this.states.has(sequence)) {
      const { body } = await get(path`${this.type.collection}/${this.id}/state`, { signal: this.view.signal, query: { sequence } });
      if (this.states.size > 200) this.states.clear();
      this.states.set(sequence, body.state);
    }
    return this.states.get(sequence);
  }
}

/** What an event says, in short. */
function gist(data) {
  const parts = Object.entries(data ?? {}).filter(([, value]) => value !== null && typeof value !== "object");
  return parts.map(([name, value]) => `${name} ${value}`).join(", ").slice(0, 120);
}

