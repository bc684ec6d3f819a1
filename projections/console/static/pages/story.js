/** Story: what a command has caused, over all contexts, and what is still awaited. */

import { Problem, get, path } from "../shell/api.js";
import { h, render } from "../shell/dom.js";
import { count, duration, secondsSince, since, when } from "../shell/format.js";
import { badge, empty, head, joined, mono, table } from "../shell/parts.js";
import { link } from "../shell/routes.js";
import { system } from "../shell/system.js";
import { graph } from "./story/graph.js";

const ABOUT = "What a command has caused, over all contexts: commands, events and timers, from the journals.";
const SECONDS = 4;
export const STATUS = {
  accepted: ["accepted", "good"], unseen: ["not in the journal", "warn"], scheduled: ["scheduled", "note"], hidden: ["not yours to see", null],
};

export default async function show(view) {
  const known = await system(view.signal);
  const [id] = view.parts;
  if (!id) return render(view.main, head("Story", ABOUT), chooser(view, known));
  view.title(`Story of ${id}`);
  render(view.main, head("Story", ABOUT, chooser(view, known)));
  let story = null;
  view.live({
    seconds: SECONDS,
    ask: async (signal) => (story = story && isOver(story) ? story : await read(view, story, id, signal)),
    show: (body) => showStory(view, known, body, id),
  });
}

/** Whether nothing more is awaited, or what is will not come soon. */
const isOver = (story) => !story.steps.some((step) => step.status === "unseen" || (step.status === "scheduled" && secondsSince(step.due) > -60));

/** The story of an id; once it is known, that of its first event, which any worker finds at once. */
async function read(view, story, id, signal) {
  const anchor = story?.steps.flatMap((step) => step.events)[0]?.position;
  const query = { type: view.query.get("type"), aggregate: view.query.get("aggregate") };
  if (anchor) return (await get(path`stories/${anchor}`, { signal })).body;
  try {
    return (await get(path`stories/${id}`, { signal, query })).body;
  } catch (error) {
    const target = !query.type && error instanceof Problem && error.status === 404 ? await targetOf(id, signal) : null;
    if (!target) throw error;
    return (await get(path`stories/${id}`, { signal, query: { type: target.type, aggregate: target.id } })).body;
  }
}

/** The aggregate of a command that came over HTTP, null where nobody knows it any more. */
async function targetOf(id, signal) {
  try {
    return (await get(path`commands/${id}`, { signal, isQuiet: true })).body.aggregate;
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

function chooser(view, known) {
  const [id = ""] = view.parts;
  const types = [...known.types.values()].filter((type) => type.isRead);
  const text = (name, value, more) => h("input", { name, value, autocomplete: "off", spellcheck: "false", maxlength: "600", ...more });
  const input = text("id", id, { required: true, placeholder: "command, event or correlation" });
  const chosen = view.query.get("type") ?? "";
  const select = h("select", { name: "type" }, ["", ...types.map(({ type }) => type)].map((type) => h("option", { value: type, selected: type === chosen }, type || "any type")));
  const aggregate = text("aggregate", view.query.get("aggregate") ?? "", { placeholder: "its id" });
  const go = (event) => {
    event.preventDefault();
    location.hash = link("story", input.value.trim(), { type: select.value || null, aggregate: (select.value && aggregate.value) || null });
  };
  return h("form.chooser.stack", { onsubmit: go },
    h("div.row", {}, h("label.inline", {}, h("span.hidden", {}, "Id"), input), h("button.button", { type: "submit" }, "Show")),
    h("details.small", { open: Boolean(chosen) }, h("summary", {}, "An old one? Say of which aggregate"),
      h("div.row", {}, h("label.inline", {}, h("span.hidden", {}, "Type"), select), h("label.inline", {}, h("span.hidden", {}, "Aggregate"), aggregate))));
}

function showStory(view, known, story, id) {
  const awaited = story.steps.filter((step) => step.status === "unseen" || step.status === "scheduled");
  render(view.main,
    head(h("span", {}, h("span.soft", {}, "Story of "), mono(id)), summary(story), chooser(view, known)),
    facts(story),
    awaited.length ? awaitedPart(story, awaited) : null,
    h("section.stack", { "aria-label": "The graph" }, graph(story)),
    steps(story));
}

function summary(story) {
  const events = story.steps.flatMap((step) => step.events);
  const times = events.map(({ time }) => Date.parse(time));
  const contexts = new Set(story.steps.map((step) => step.context));
  return [
    `${count(story.steps.length, "command")} and ${count(events.length, "event")} of ${count(contexts.size, "context")}`,
    times.length > 1 ? `, over ${duration((Math.max(...times) - Math.min(...times)) / 1000)}` : "", ". ",
    story.more ? "The story is longer than what is shown." : null,
  ];
}

function facts(story) {
  const line = (title, value) => (value ? [h("dt.soft", {}, title), h("dd.mono", {}, value)] : null);
  const [, trace] = story.traceparent.split("-");
  return h("dl.facts.small", {}, line("correlation", story.correlation_id), line("trace", story.trace_url ? h("a", { outside: story.trace_url }, trace) : trace));
}

function awaitedPart(story, awaited) {
  const at = new Map(story.steps.flatMap((step) => step.events.map((event) => [event.position, event.time])));
  return h("section.stack", { "aria-label": "Still awaited" },
    h("h2", {}, "Still awaited"),
    h("ul.stack", {}, awaited.map((step) => h("li", { key: keyOf(step) },
      badge(...STATUS[step.status]), " ", h("strong", {}, step.command), " to ", target(step), ": ",
      step.status === "scheduled"
        ? ["its time comes ", since(step.due), "."]
        : [`it waits in partition ${step.slice ?? "?"} of the commands of ${step.type} (`, h("a", { href: link("logs") }, "whose is it?"), "), or was refused. It was sent ", since(at.get(step.cause)), "."]))));
}

const keyOf = (step) => `${step.type} ${step.id} ${step.command_id} ${step.cause}`;

function target(step) {
  if (step.status === "hidden") return `${step.type}`;
  return h("a", { href: link("aggregate", step.type, step.id) }, `${step.type} ${step.id}`);
}

/** The same as the graph, for who reads line by line. */
function steps(story) {
  const names = new Map(story.steps.flatMap((step) => step.events.map((event) => [event.position, `${event.type} of ${step.type} ${step.id}`])));
  const moment = (step, event) => h("a", { href: link("aggregate", step.type, step.id, { at: event.sequence }) }, event.type);
  return h("section.stack", { "aria-label": "Step by step" },
    h("h2", {}, "Step by step"),
    table("Steps of the story", [
      { title: "When", cell: (step) => when(step.time ?? step.due) },
      { title: "Command", head: true, cell: (step) => step.command || (step.status === "hidden" ? "–" : "a command") },
      { title: "To", cell: target },
      { title: "Caused by", cell: (step) => (step.cause === null ? ["from outside", step.principal ? `, ${step.principal}` : ""] : names.get(step.cause) ?? step.cause) },
      { title: "Outcome", cell: (step) => [badge(...STATUS[step.status]), " ", step.events.length ? joined(step.events.map((event) => moment(step, event))) : step.status === "accepted" ? "nothing to be done" : null,
        step.events.map((event) => (event.unread ? h("p.small", {}, `What ${event.type} has caused cannot be said here: ${event.unread}`) : null))] },
      { title: "Id", cell: (step) => mono(step.command_id, { class: "mono long" }) },
    ], story.steps, { key: keyOf }),
    story.steps.length ? null : empty("Nothing of this story is in the journals that you may read."));
}
