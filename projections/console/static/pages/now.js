/** Now: whether this worker serves all that it should. */

import { get } from "../shell/api.js";
import { render } from "../shell/dom.js";
import { head } from "../shell/parts.js";

export default function show(view) {
  view.live({
    seconds: 2,
    ask: (signal) => get("health/ready", { signal }),
    show: ({ body }) => render(view.main, head("All is served", `${body.app} has partitions ${body.partitions.join(", ")}.`)),
  });
}
