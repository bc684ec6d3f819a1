/** What the app has, as its OpenAPI document says: aggregate types, their commands, and the forms of these. */

import { get } from "./api.js";

let known = null;

/**
 * `{title, types, schema}`. `types` has by name `{type, collection, commands, events, isRead}`, where `commands` has by
 * name the schema of the data; `schema(reference)` is the schema that a `$ref` means.
 */
export async function system(signal) {
  known ??= read(signal).catch((error) => {
    known = null;
    throw error;
  });
  return known;
}

async function read(signal) {
  const { body } = await get("openapi.json", { signal });
  const schema = (form) => (form?.$ref ? body.components.schemas[form.$ref.split("/").at(-1)] : form);
  const types = new Map();
  for (const [type, events] of Object.entries(body["x-events"])) {
    const collection = `${type}s`;
    const posted = body.paths[`/${collection}/{id}/commands`]?.post;
    types.set(type, {
      type,
      collection,
      commands: new Map(posted ? commandsOf(posted.requestBody.content["application/json"].schema, schema) : []),
      events: Object.keys(events.schemas),
      isRead: `/${collection}/{id}/history` in body.paths,
    });
  }
  return { title: body.info.title, types, schema };
}

function commandsOf(form, schema) {
  return (form.anyOf ?? form.oneOf ?? [form]).map((one) => {
    const body = schema(one);
    const name = body.properties.type.enum?.[0] ?? body.properties.type.const;
    return [name, schema(body.properties.data)];
  });
}
