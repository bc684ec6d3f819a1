/**
 * Elements of the page, made of text: nothing that comes from elsewhere ever becomes markup.
 *
 * `h("p.soft", {title: "..."}, "text", h("b", {}, "more"))` makes an element; `svg(..)` one of a drawing. What is null
 * or false is left out. Handlers are attributes that begin with `on`: `onclick: () => ..`.
 *
 * `render(place, ...children)` makes the children of an element these. What is there already and is of the same kind is
 * changed and not replaced: so the focus, the selection and what is being typed stay, however often a page is shown
 * anew. Among siblings that come and go, a `key` says which is which.
 */

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = Symbol("handlers");
const KEY = Symbol("key");
const LINK = /^#/;
const OUTSIDE = /^https?:\/\/[^/]/;

export const h = (name, attributes, ...children) => make((tag) => document.createElement(tag), name, attributes, children);
export const svg = (name, attributes, ...children) =>
  make((tag) => document.createElementNS(SVG, tag), name, attributes, children);

function make(create, name, attributes, children) {
  const [tag, ...classes] = name.split(".");
  const element = create(tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [attribute, value] of Object.entries(attributes ?? {})) set(element, attribute, value);
  element.append(...nodes(children));
  return element;
}

function set(element, name, value) {
  if (name === "key") element[KEY] = value;
  else if (name.startsWith("on")) listen(element, name.slice(2), value);
  else if (name === "style") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
  else if (name === "outside") leadOut(element, value);
  else if (name === "href" && !LINK.test(value)) throw new TypeError(`no link of ours: ${value}`);
  else if (name === "value" || name === "checked" || name === "disabled" || name === "selected") element[name] = value;
  else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
}

/** A link to another site, which an operator has named, and which is not told from where it was followed. */
function leadOut(element, href) {
  if (!OUTSIDE.test(href)) throw new TypeError(`no page elsewhere: ${href}`);
  for (const [name, value] of Object.entries({ href, rel: "noreferrer", target: "_blank" })) element.setAttribute(name, value);
}

function listen(element, event, handler) {
  if (!element[HANDLERS]) element[HANDLERS] = {};
  if (!(event in element[HANDLERS])) element.addEventListener(event, (happened) => element[HANDLERS][event]?.(happened));
  element[HANDLERS][event] = handler;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Have an element these children, by changing what it has. */
export function render(place, ...children) {
  const wanted = nodes(children);
  const keyed = new Map([...place.childNodes].filter((node) => node[KEY] !== undefined).map((node) => [node[KEY], node]));
  let at = place.firstChild;
  for (const node of wanted) {
    const kept = node.parentNode === place ? node : node[KEY] !== undefined ? keyed.get(node[KEY]) : at?.[KEY] === undefined ? at : null;
    if (kept && isAlike(kept, node)) {
      if (kept !== at) place.insertBefore(kept, at);
      else at = at.nextSibling;
      if (kept !== node) change(kept, node);
    } else place.insertBefore(node, at);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function isAlike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && one[KEY] === other[KEY];
}

function change(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whether something is unfolded or open is the reader's choice.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") old.style.cssText = fresh.style.cssText; // as an attribute the policy of the page forbids it
    else old.setAttribute(name, value);
  }
  for (const event of Object.keys({ ...old[HANDLERS], ...fresh[HANDLERS] })) listen(old, event, fresh[HANDLERS]?.[event]);
  if ("disabled" in old) old.disabled = fresh.disabled;
  render(old, ...fresh.childNodes);
  if ("value" in old && old.value !== fresh.value && old !== document.activeElement) old.value = fresh.value;
}
