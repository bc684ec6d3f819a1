/** Parts that pages share: heads, tables, problems, commands to copy, and the dialog before something is done. */

import { h } from "./dom.js";

export const head = (title, about, ...beside) =>
  h("div.head", {}, h("div.row.between", {}, h("h1", {}, title), beside.length ? h("div.row", {}, beside) : null), about ? h("p", {}, about) : null);

export const badge = (text, tone) => h("span.badge", { "data-tone": tone }, text);
export const empty = (...text) => h("div.empty", {}, h("p", {}, text));
export const mono = (text, attributes) => h("span.mono", attributes, text);
export const button = (text, onclick, more = {}) => h("button.button", { type: "button", onclick, ...more }, text);

/** Several things with a comma between. */
export const joined = (parts, between = ", ") => parts.flatMap((part, index) => (index ? [between, part] : [part]));

/** Chooses an aggregate: an option of the select `name`, and an id; `go(chosen, id)` is called with both. */
export function chooserOf({ name, label, options, placeholder, id, go }) {
  const select = h("select", { name }, options);
  const input = h("input", { name: "id", required: true, maxlength: "512", placeholder, value: id, autocomplete: "off", spellcheck: "false" });
  const submit = (event) => {
    event.preventDefault();
    go(select.value, input.value);
  };
  return h("form.chooser.row", { onsubmit: submit },
    h("label.inline", {}, h("span.hidden", {}, label), select),
    h("label.inline", {}, h("span.hidden", {}, "Id"), input),
    h("button.button", { type: "submit" }, "Show"));
}

/** The step that a key asks for: 1 with j, -1 with k; 0 with any other, and while somebody writes. */
export function stepOf(event) {
  if (event.target.closest("input:not([type=range]), textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return 0;
  return { j: 1, k: -1 }[event.key] ?? 0;
}

export function problem(error) {
  return h(
    "div.problem", { role: "alert" },
    h("h3", {}, error.title ?? "Not shown"),
    h("p", {}, error.detail ?? error.message),
    error.errors?.length
      ? h("ul", {}, error.errors.map((fault) => h("li", {}, h("code", {}, fault.pointer || "the body"), ": ", fault.detail)))
      : null,
  );
}

/** A bar of how much is done; the text beside it says it, too. */
export const bar = (part, total, tone) =>
  h("div.bar", { "aria-hidden": "true", "data-tone": tone },
    h("span", { style: { width: `${total > 0 ? Math.min((100 * part) / total, 100) : 0}%` } }));

/**
 * A table. `columns` are `{title, cell: (row) => .., number, head}`; of each row the column `head` is what it is about.
 * `key` names a row among those of the table.
 */
export function table(caption, columns, rows, { key, attributes = () => ({}) } = {}) {
  return h(
    "div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption.hidden", {}, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h(column.number ? "th.number" : "th", { scope: "col" }, column.title)))),
      h("tbody", {}, rows.map((row) =>
        h("tr", { ...attributes(row), ...(key ? { key: key(row) } : {}) }, columns.map((column) =>
          h(`${column.head ? "th" : "td"}${column.number ? ".number" : ""}`, column.head ? { scope: "row" } : {}, column.cell(row)))))),
    ),
  );
}

/** A command for the shell, to be copied. */
export function command(text) {
  const copied = (event) => {
    const { target } = event;
    const say = (said) => {
      target.textContent = said;
      setTimeout(() => (target.textContent = "Copy"), 1500);
    };
    // Pages that came in the clear have no clipboard.
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => say("Copied"), () => say("Not copied"));
    else getSelection().selectAllChildren(target.previousSibling);
  };
  return h("div.command", {}, h("code", { tabindex: "0" }, text),
    h("button", { type: "button", onclick: copied, "aria-label": `Copy ${text}` }, "Copy"));
}

/**
 * Ask before something is done. What will be done is said in `title` and `about`; `reason` asks why. `act(reason)` does
 * it, while the dialog stands; a problem is shown in the dialog. Gives what `act` gave, or undefined where nothing was done.
 */
export function confirm({ title, about, reason = false, label, act }) {
  return new Promise((resolve) => {
    let outcome;
    const input = h("input", { name: "reason", required: true, maxlength: "1000", autocomplete: "off" });
    const fault = h("div", {});
    const yes = h("button.button.first", { type: "submit" }, label);
    const dialog = h(
      "dialog", { "aria-labelledby": "asked", onclose: () => (dialog.remove(), resolve(outcome)) },
      h("form", { method: "dialog", onsubmit: submit },
        h("h2", { id: "asked" }, title),
        about ? h("p.soft", {}, about) : null,
        reason ? h("label", {}, "Why", h("span.soft.small", {}, "For the next one who looks at it, and for the audit."), input) : null,
        fault,
        h("div.row", {}, button("Cancel", () => dialog.close()), yes)),
    );
    async function submit(event) {
      event.preventDefault();
      yes.disabled = true;
      try {
        outcome = await act(input.value.trim());
        dialog.close();
      } catch (error) {
        fault.replaceChildren(problem(error));
        yes.disabled = false;
      }
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Say shortly, in a corner and to screen readers, that something was done. */
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (place.textContent = ""), 6000);
}
