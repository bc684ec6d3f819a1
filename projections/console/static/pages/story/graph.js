/**
 * The graph of a story as SVG: a lane for each context, time runs down, an arrow from each event to what it has caused,
 * with how long that took. Where nothing happens for long the time is folded. Boxes lead to the aggregate.
 */

import { h, svg } from "../../shell/dom.js";
import { duration } from "../../shell/format.js";
import { link } from "../../shell/routes.js";

const LANE = 218;
const BOX = 184;
const LEFT = 64;
const TOP = 34;
const LINE = 17;
const GAP = 22;
const FOLD = 26;
const FOLD_SECONDS = 5;
const LETTERS = 25;
const TONE = { accepted: null, unseen: "warn", scheduled: "note", hidden: "quiet" };

export function graph(story) {
  const lanes = [...new Set(story.steps.map((step) => step.context))];
  const { boxes, folds, height } = placed(story.steps, lanes);
  const dots = new Map(boxes.flatMap((box) => box.step.events.map((event, index) => [event.position, { x: box.x, y: box.y + (index + 2) * LINE + 6, time: event.time }])));
  const width = LEFT + lanes.length * LANE;
  return h("div.scroll.story", { tabindex: "0", role: "region", "aria-label": "The graph of the story" },
    svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${story.steps.length} commands in ${lanes.length} lanes` },
      svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
        svg("path", { d: "M0 0L8 4L0 8z", class: "tip" }))),
      lanes.map((name, index) => lane(name, index, height)),
      folds.map(({ y, seconds }) => svg("g", { class: "fold" },
        svg("line", { x1: 0, x2: width, y1: y, y2: y }),
        svg("text", { x: 6, y: y - 5 }, `${duration(seconds)} later`))),
      boxes.map((box) => edge(box, dots)),
      boxes.map(drawn)));
}

/** Each step in a row of its own, by time; those that are awaited are below. */
function placed(steps, lanes) {
  const time = (step) => (step.time ? Date.parse(step.time) : Infinity);
  const sorted = steps.map((step, index) => [step, index]).sort(([one, at], [other, behind]) => time(one) - time(other) || at - behind);
  const first = time(sorted[0]?.[0] ?? {});
  const folds = [];
  let y = TOP;
  let last = first;
  const boxes = sorted.map(([step]) => {
    const seconds = step.time ? (time(step) - last) / 1000 : 0;
    if (seconds >= FOLD_SECONDS) {
      folds.push({ y: y + FOLD - GAP / 2, seconds });
      y += FOLD;
    }
    if (step.time) last = time(step);
    const height = LINE * (2 + step.events.length) + 10;
    const box = { step, x: LEFT + lanes.indexOf(step.context) * LANE, y, height, after: step.time ? (time(step) - first) / 1000 : null };
    y += height + GAP;
    return box;
  });
  return { boxes, folds, height: y };
}

function lane(name, index, height) {
  const x = LEFT + index * LANE;
  return svg("g", { class: "lane" },
    svg("line", { x1: x + BOX / 2, x2: x + BOX / 2, y1: TOP - 8, y2: height }),
    svg("text", { x: x + BOX / 2, y: 18, "text-anchor": "middle" }, cut(name)));
}

/** An arrow from the event that has caused a step. */
function edge(box, dots) {
  const from = dots.get(box.step.cause);
  if (!from) return null;
  const isRight = box.x > from.x;
  const isSame = box.x === from.x;
  const x1 = isRight ? from.x + BOX : from.x;
  const x2 = isRight || isSame ? box.x : box.x + BOX;
  const y2 = box.y + LINE;
  const bend = isSame ? -26 : isRight ? 20 : -20;
  const d = `M${x1} ${from.y}C${x1 + bend} ${from.y} ${x2 + (isSame ? bend : -bend)} ${y2} ${x2} ${y2}`;
  const took = box.step.time ? duration(Math.max(Date.parse(box.step.time) - Date.parse(from.time), 0) / 1000) : "";
  const text = isSame ? { x: x2 - 4, "text-anchor": "end" } : isRight ? { x: x2 - 14, "text-anchor": "end" } : { x: x2 + 6, "text-anchor": "start" };
  return svg("g", { class: "edge", "data-status": box.step.status },
    svg("path", { d, "marker-end": "url(#arrow)" }),
    took ? svg("text", { ...text, y: y2 - 6 }, took) : null);
}

function drawn({ step, x, y, height, after }) {
  const inner = [
    svg("title", {}, `${step.command || "a command"} to ${step.type} ${step.id}`),
    svg("rect", { x, y, width: BOX, height, rx: 6 }),
    svg("text", { class: "command", x: x + 10, y: y + LINE }, cut(step.command || (step.status === "hidden" ? "not yours to see" : step.principal || "from outside"))),
    svg("text", { class: "target", x: x + 10, y: y + 2 * LINE }, cut(`${step.type} ${step.id}`)),
    step.events.map((event, index) => [
      svg("circle", { cx: x + 14, cy: y + (index + 2) * LINE + 13, r: 3 }),
      svg("text", { x: x + 24, y: y + (index + 3) * LINE }, cut(event.type))]),
  ];
  const at = step.events.at(-1)?.sequence ?? null;
  const box = step.status === "hidden" ? inner : svg("a", { href: link("aggregate", step.type, step.id, { at }) }, inner);
  return svg("g", { class: "step", "data-tone": TONE[step.status], "data-status": step.status },
    svg("text", { class: "after", x: 6, y: y + LINE }, after === null ? "awaited" : after ? `+${duration(after)}` : "0"),
    box);
}

const cut = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text);
