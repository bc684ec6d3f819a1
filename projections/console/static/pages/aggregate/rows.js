/** The rows of tables that show an aggregate, and how far each is. */

import { Problem, get, path } from "../../shell/api.js";
import { h, render } from "../../shell/dom.js";
import { number } from "../../shell/format.js";
import { badge, mono, problem } from "../../shell/parts.js";
import { tree } from "../../shell/diff.js";
import { link } from "../../shell/routes.js";

/** A panel that is kept up to date. `newest` gives the sequence of the newest event. */
export function rowsPanel(view, type, id, newest) {
  const place = h("div.grid", {}, h("p.soft", {}, "…"));
  view.live({
    seconds: 3,
    async ask(signal) {
      try {
        return (await get(path`${type.collection}/${id}/rows`, { signal })).body.rows;
      } catch (error) {
        if (!(error instanceof Problem) || error.status === 401) throw error;
        return error; // of one who may not see rows, or of a type without tables: the rest of the page stands
      }
    },
    show: (rows) =>
      render(place, rows instanceof Problem
        ? rows.status === 404 ? h("p.soft", {}, `No table shows ${type.type} by its id.`) : problem(rows)
        : rows.map((row) => card(row, newest(), id))),
  });
  return h("section.stack", {}, h("h2", {}, "In the tables"), place);
}

function card(row, newest, id) {
  return h("article.card.stack", { key: row.projection },
    h("div.row.between", {}, h("h3.mono", {}, row.table ?? row.projection), state(row, newest)),
    row.waits ? h("p", {}, row.waits) : null,
    row.row === null ? h("p.soft", {}, row.table ? "No row of this id." : "It is being built.") : h("details", {}, h("summary", {}, "The row"), tree(row.row)),
    h("p.small", {}, h("a", { href: link("steps", row.projection, id), "aria-label": `Step through ${row.projection}` }, "Step through it")),
    row.position ? h("p.soft.small", {}, "Newest event in it at ", mono(row.position), `; the table has all up to commit ${number(row.applied)}.`) : null);
}

function state(row, newest) {
  if (row.waits) return badge("waits", "bad");
  if (row.row === null) return badge("no row");
  if (!row.sequence) return badge("shown");
  if (row.sequence >= newest) return badge("up to date", "good");
  return badge(`shows event ${number(row.sequence)} of ${number(newest)}`, "note");
}
