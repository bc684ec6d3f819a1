/**
 * A plot of the last hour, drawn as SVG. `plot({title, series, format})` gives an element with `update({until, seconds,
 * figures, marks})`: `series` are `{name, key, tone}`, `figures[key]` the points, oldest first, null where nothing is
 * known; `marks` are `{at, text}`, moments to be seen. Whoever points at it reads the values of that moment.
 */

import { h, render, svg } from "./dom.js";

const WIDTH = 460;
const HEIGHT = 150;
const LEFT = 58;
const BOTTOM = 20;
const TOP = 8;
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export function plot({ title, series, format }) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const legend = h("div.row.legend.small", {});
  const element = h("figure.plot.card.stack", {}, h("figcaption.row.between", {}, h("h2.minor", {}, title), legend), drawing);
  let data = null;
  let pointed = null;
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    pointed = data && Math.round(((x - LEFT) / (WIDTH - LEFT)) * (data.count - 1));
    if (pointed !== null) pointed = Math.max(0, Math.min(data.count - 1, pointed));
    draw();
  });
  drawing.addEventListener("pointerleave", () => {
    pointed = null;
    draw();
  });
  element.update = (fresh) => {
    const count = Math.max(...series.map(({ key }) => fresh.figures[key].length));
    data = { ...fresh, count };
    draw();
  };
  return element;

  function draw() {
    if (!data) return;
    const { figures, until, seconds, count, marks = [] } = data;
    const end = Date.parse(until);
    const most = nice(Math.max(0, ...series.flatMap(({ key }) => figures[key].filter((value) => value !== null))));
    const x = (index) => LEFT + (index / Math.max(count - 1, 1)) * (WIDTH - LEFT - 2);
    const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - BOTTOM - TOP);
    const moment = (index) => new Date(end - (count - 1 - index) * seconds * 1000);
    const at = pointed ?? lastKnown(series.map(({ key }) => figures[key]));
    drawing.setAttribute("aria-label", `${title}, last hour: ${summary(figures)}`);
    render(drawing,
      [0, 0.5, 1].map((part) => [
        svg("line", { class: "grid-line", x1: LEFT, x2: WIDTH, y1: y(most * part), y2: y(most * part) }),
        svg("text", { x: LEFT - 8, y: y(most * part) + 4, "text-anchor": "end" }, format(most * part))]),
      [0, 0.5, 1].map((part) => {
        const index = Math.round(part * (count - 1));
        return svg("text", { x: x(index), y: HEIGHT - 4, "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle" }, clock.format(moment(index)));
      }),
      marks.map(({ at: when, text }) => {
        const index = count - 1 - (end - Date.parse(when)) / 1000 / seconds;
        if (index < 0 || index > count) return null;
        return svg("g", { class: "mark" }, svg("title", {}, text),
          svg("line", { x1: x(index), x2: x(index), y1: TOP, y2: HEIGHT - BOTTOM }),
          svg("circle", { cx: x(index), cy: TOP, r: 3.5 }));
      }),
      series.map(({ key, tone }) => svg("path", { class: "series", "data-tone": tone, d: lines(figures[key], x, y) })),
      pointed === null ? null : svg("line", { class: "pointer", x1: x(pointed), x2: x(pointed), y1: TOP, y2: HEIGHT - BOTTOM }));
    render(legend,
      pointed === null ? null : h("span.soft", {}, clock.format(moment(pointed))),
      series.map(({ name, key, tone }) => h("span.key", { "data-tone": tone }, h("span.dot", { "aria-hidden": "true" }), `${name} `, h("strong", {}, shown(figures[key][at])))));
  }

  function summary(figures) {
    return series.map(({ name, key }) => {
      const known = figures[key].filter((value) => value !== null);
      return known.length ? `${name} ${format(known.at(-1))} now, ${format(Math.max(...known))} at most` : `${name} not known`;
    }).join("; ");
  }

  function shown(value) {
    return value === null || value === undefined ? "–" : format(value);
  }
}

function lastKnown(all) {
  return Math.max(...all.map((values) => values.findLastIndex((value) => value !== null)), 0);
}

/** The path through the points, with a gap where nothing is known. */
function lines(values, x, y) {
  let isDown = false;
  return values
    .map((value, index) => {
      if (value === null) return ((isDown = false), "");
      const command = isDown ? "L" : "M";
      isDown = true;
      return `${command}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    })
    .join("");
}

/** The next of 1, 2, 5, 10, .. that is not smaller. */
function nice(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}
