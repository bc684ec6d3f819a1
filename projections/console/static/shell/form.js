/**
 * A form made of a JSON schema, as the OpenAPI document has those of commands.
 *
 * `form(schema, resolve)` gives `{fields, read()}`: elements for a `<form>`, and the value that stands in them. `resolve`
 * finds what a `$ref` means. Texts, numbers, decimals, times, yes or no, and choices have fields of their own, as have
 * objects; whatever else is typed as JSON. What may be left out and is empty is left out. `read` raises a `SyntaxError`
 * for JSON that is none.
 */

import { h } from "./dom.js";

let last = 0;

export function form(schema, resolve) {
  return object(resolve(schema), resolve, "");
}

function object(schema, resolve, within) {
  const required = new Set(schema.required ?? []);
  const parts = Object.entries(schema.properties ?? {}).map(([name, of]) => [name, field(name, of, resolve, required.has(name), within)]);
  return {
    fields: parts.map(([, part]) => part.element),
    read() {
      const value = {};
      for (const [name, part] of parts) {
        const read = part.read();
        if (read !== undefined) value[name] = read;
      }
      return value;
    },
  };
}

function field(name, reference, resolve, isRequired, within) {
  const outer = resolve(reference);
  const { schema, mayBeNull } = plain(outer, resolve);
  const about = reference.description ?? outer.description ?? schema.description;
  const isNeeded = isRequired && !mayBeNull;
  if (schema.type === "object" && schema.properties && isNeeded) {
    const part = object(schema, resolve, `${within}${name} `);
    return { element: h("fieldset", {}, h("legend", {}, name, hint(about)), part.fields), read: part.read };
  }
  if (schema.type === "boolean") {
    const input = h("input", { type: "checkbox", name: within + name, checked: schema.default === true });
    return { element: h("label.inline", {}, input, name, hint(about)), read: () => input.checked };
  }
  const input = inputOf(schema, within + name, isNeeded);
  const label = h("label", { for: input.id }, h("span", {}, name, isNeeded ? null : h("span.soft", {}, " · may be left out")), hint(about), input);
  return { element: label, read: () => (input.value === "" && !isNeeded ? undefined : valueOf(schema, input.value)) };
}

const hint = (about) => (about ? h("span.soft.small", {}, about) : null);

/** A schema without the null that it may be. */
function plain(schema, resolve) {
  const options = (schema.anyOf ?? schema.oneOf)?.map(resolve);
  if (!options) return { schema, mayBeNull: false };
  const others = options.filter((option) => option.type !== "null");
  return { schema: others.length === 1 ? others[0] : { ...schema, type: "any" }, mayBeNull: others.length < options.length };
}

function inputOf(schema, name, required) {
  const given = { id: `field-${++last}`, name, required, autocomplete: "off", spellcheck: "false" };
  if (schema.enum) {
    const chosen = schema.enum.map((option) => h("option", { value: option, selected: option === schema.default }, String(option)));
    return h("select", given, required ? null : h("option", { value: "" }, "–"), chosen);
  }
  if (schema.type === "integer") return h("input", { ...given, inputmode: "numeric", pattern: "-?[0-9]+", title: "A whole number" });
  if (schema.type === "number") return h("input", { ...given, inputmode: "decimal" });
  if (schema.type === "string") {
    const isDecimal = schema.format === "decimal";
    const placeholder = schema.format === "date-time" ? "2026-01-31T12:00:00Z" : isDecimal ? "0.00" : null;
    return h("input", { ...given, placeholder, inputmode: isDecimal ? "decimal" : null });
  }
  return h("textarea", { ...given, placeholder: "JSON" });
}

function valueOf(schema, text) {
  if (schema.enum) return schema.enum.find((option) => String(option) === text);
  if (schema.type === "string") return text;
  // What is too large for a number of JavaScript is for the worker to refuse, as it was typed.
  if (schema.type === "integer" || schema.type === "number") return Number.isSafeInteger(Number(text)) || text.includes(".") ? Number(text) : text;
  return JSON.parse(text);
}
