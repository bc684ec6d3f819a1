/** A value of JSON beside the one before: what was added, what is gone, and what was something else. */

import { h } from "./dom.js";

const LINES = 600;

/** Whether two values of JSON are the same. */
export function isSame(one, other) {
  if (one === other) return true;
  if (kind(one) !== kind(other) || !isBranch(one)) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => name in other && isSame(one[name], other[name]));
}

/** The paths at which two values differ, as `lines.0.quantity`, at most `most` of them. */
export function changes(before, after, most = 50) {
  const found = [];
  walk(before, after, []);
  return found;
  function walk(one, other, path) {
    if (found.length >= most || isSame(one, other)) return;
    if (isBranch(one) && isBranch(other) && kind(one) === kind(other)) {
      for (const name of names(one, other)) walk(one[name], other[name], [...path, name]);
    } else found.push(path.join("."));
  }
}

/** A tree of `after`, with the differences from `before` marked; without `before` nothing is. `onlyChanged` folds the rest. */
export function tree(after, before = after, { onlyChanged = false } = {}) {
  const lines = [];
  branch(before, after, 0);
  const shown = lines.slice(0, LINES);
  return h("div.tree", { role: "group" }, shown, lines.length > LINES ? h("p.soft", {}, `and ${lines.length - LINES} more lines`) : null);

  function branch(one, other, depth) {
    if (!isBranch(other)) {
      lines.push(line(depth, null, value(other), isSame(one, other) ? null : "changed"));
      return;
    }
    const isLike = isBranch(one) && kind(one) === kind(other);
    for (const name of names(isLike ? one : {}, other)) {
      const was = isLike && name in one ? one[name] : undefined;
      entry(name, was, name in other ? other[name] : undefined, depth);
    }
    if (!Object.keys(other).length && depth === 0) lines.push(line(depth, null, h("span.soft", {}, "nothing in it"), null));
  }

  function entry(name, was, is, depth) {
    const same = isSame(was, is);
    if (same && onlyChanged) return;
    if (is === undefined) return all(name, was, depth, "removed");
    if (was === undefined) return all(name, is, depth, "added");
    if (isBranch(is) && isBranch(was) && kind(is) === kind(was) && Object.keys(is).length) {
      lines.push(line(depth, name, same ? null : h("span.hidden", {}, "changed within"), null));
      branch(was, is, depth + 1);
    } else if (same) lines.push(line(depth, name, value(is), null));
    else lines.push(line(depth, name, [h("del", {}, value(was)), " ", h("ins", {}, value(is))], "changed"));
  }

  function all(name, what, depth, change) {
    const tag = change === "added" ? "ins" : "del";
    if (!isBranch(what) || !Object.keys(what).length) {
      lines.push(line(depth, name, h(tag, {}, value(what)), change));
      return;
    }
    lines.push(line(depth, name, h("span.hidden", {}, change), change));
    for (const [part, its] of Object.entries(what)) all(part, its, depth + 1, change);
  }
}

function line(depth, name, shown, change) {
  return h("div.line", { "data-change": change, style: { "--depth": String(depth) } },
    name === null ? null : h("span.name", {}, name), " ", shown);
}

function value(of) {
  if (of === null) return h("span.soft", {}, "null");
  if (isBranch(of)) return h("span.soft", {}, Object.keys(of).length ? JSON.stringify(of) : Array.isArray(of) ? "none" : "empty");
  return h("span", {}, typeof of === "string" ? of || h("span.soft", {}, "empty text") : String(of));
}

const isBranch = (of) => of !== null && typeof of === "object";
const kind = (of) => (Array.isArray(of) ? "list" : of === null ? "null" : typeof of);
const names = (one, other) => [...new Set([...Object.keys(other ?? {}), ...Object.keys(one ?? {})])];
