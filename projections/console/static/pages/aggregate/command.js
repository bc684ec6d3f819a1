/** What an aggregate would say to a command, at the moment that is chosen; and the command sent, if one may. */

import { newId, path, post } from "../../shell/api.js";
import { h, render } from "../../shell/dom.js";
import { number } from "../../shell/format.js";
import { badge, button, confirm, problem, say } from "../../shell/parts.js";
import { form } from "../../shell/form.js";
import { tree } from "../../shell/diff.js";

const TONE = { accepted: "good", rejected: "warn", failed: "bad" };

/** A panel for the commands of the type of a `life`, whose chosen moment counts. */
export function commandPanel(view, life) {
  const { type, id, known } = life;
  if (!type.commands.size) return null;
  const outcome = h("div.stack", { "aria-live": "polite" });
  const fields = h("div.fields", {});
  const at = h("span", {});
  let made = null;
  const names = [...type.commands.keys()];
  const choose = (name) => {
    made = { name, form: form(type.commands.get(name), known.schema) };
    // New ones each time: what was typed for another command is not that of this one.
    fields.replaceChildren(...made.form.fields);
    render(outcome);
  };
  const select = h("select", { name: "command", onchange: ({ target }) => choose(target.value) }, names.map((name) => h("option", { value: name }, name)));
  const read = () => {
    try {
      return { type: made.name, data: made.form.read() };
    } catch {
      render(outcome, problem({ title: "Not JSON", detail: "One of the fields is to be JSON, and is none." }));
      return null;
    }
  };
  const ask = async (event) => {
    event.preventDefault();
    const body = read();
    if (!body) return;
    try {
      const { body: said } = await post(path`${type.collection}/${id}/dry-run`, { ...body, sequence: life.chosen }, { signal: view.signal });
      render(outcome, answer(said));
    } catch (error) {
      if (!view.signal.aborted) render(outcome, problem(error));
    }
  };
  const send = (event) => {
    const body = event.target.form.reportValidity() && read();
    if (body) sendIt(view, life, body, outcome);
  };
  life.changed = () => render(at, life.chosen ? `event ${number(life.chosen)}` : "its beginning");
  choose(names[0]);
  return h("section.stack", {},
    h("h2", {}, "What would it say?"),
    h("p.soft", {}, "A command is decided over the state at ", at, ", as its owner would decide it. Nothing is written."),
    h("form.card.stack", { onsubmit: ask },
      h("label", {}, "Command", select),
      fields,
      h("div.row", {}, h("button.button.first", { type: "submit" }, "Ask"), button("Send it for real…", send)),
      outcome));
}

function answer(said) {
  const { status, events, error, before, after, sequence } = said;
  return h("div.stack.said-so", { "data-tone": TONE[status] },
    h("div.row", {}, badge(status, TONE[status]), h("span.soft", {}, sequence ? `after event ${number(sequence)}` : "at its beginning")),
    error ? h("p", {}, h("strong", {}, error.type), ": ", error.message) : null,
    status === "accepted" && !events.length ? h("p", {}, "Nothing would happen: it was honoured before.") : null,
    events.map((event) => h("div", {}, h("h3", {}, event.type), tree(event.data))),
    events.length && after !== null ? h("div", {}, h("p.soft.small", {}, "What would differ in the state"), tree(after, before, { onlyChanged: true })) : null);
}

async function sendIt(view, life, body, outcome) {
  const { type, id } = life;
  // Of one dialog: whoever does not know whether it has arrived, and presses again, sends no second command.
  const headers = { "Idempotency-Key": newId() };
  const done = await confirm({
    title: `Send ${body.type} to ${type.type} ${id}?`,
    about: `It is decided by its owner over what is there by then, and what follows from it cannot be taken back.`,
    label: "Send",
    act: () => post(path`${type.collection}/${id}/commands`, body, { headers }),
  });
  if (!done || view.signal.aborted) return;
  const { status, body: reply } = done;
  say(status === 202 ? "Sent; there is no reply yet." : `Accepted: ${reply.events.join(", ") || "nothing happened"}.`);
  render(outcome, h("p", {}, badge(status === 202 ? "pending" : "accepted", "good"), ` Sent as ${reply.command_id}.`));
}

