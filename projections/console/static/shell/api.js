/**
 * The JSON routes of the worker that this page is from, asked as whoever sits before it.
 *
 * `get(path`orders/${id}`, {signal})` gives `{body, headers, status}`; what is no answer is a `Problem`, as RFC 9457
 * has them. The token is kept for as long as the tab is open, and sent as bearer; who has none is asked
 * for one, unless the question `isQuiet`.
 */

const TOKEN = "token";
const BASE = new URL(".", location.href);

export class Problem extends Error {
  constructor({ title, detail, status, errors, ...members }, retryAfter = 0) {
    super(detail || title);
    Object.assign(this, { title, detail, status, errors: errors ?? [], members, retryAfter });
  }

  /** Whether it may be over by itself. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status === 503;
  }
}

/** A new id for a command: sent again under it, it is the same command. Pages in the clear have no `randomUUID`. */
export const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A path whose parts are escaped. */
export function path(texts, ...parts) {
  return texts.reduce((made, text, index) => made + encodeURIComponent(parts[index - 1]) + text);
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

let asking = null;
let askForToken = () => Promise.resolve(false);

/** Who asks for a token: gets the problem, and gives whether there is one now. */
export function whenUnknown(ask) {
  askForToken = ask;
}

export const get = (where, options) => request("GET", where, undefined, options);
export const post = (where, body, options) => request("POST", where, body, options);

async function request(method, where, body, { signal, headers = {}, query = {}, isQuiet = false } = {}) {
  const url = new URL(where, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  const sent = { Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (token.get()) sent.Authorization = `Bearer ${token.get()}`;
  let response, text;
  try {
    response = await fetch(url, {
      method, headers: sent, signal, credentials: "same-origin", cache: "no-store", redirect: "error",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({ title: "No answer", detail: "the worker does not answer", status: 0 });
  }
  if (response.status === 401 && !isQuiet) {
    const used = sent.Authorization;
    // Whoever has been refused meanwhile waits for the same answer.
    const isKnown = used !== (token.get() ? `Bearer ${token.get()}` : undefined) || (await askOnce(problemOf(response, text)));
    if (isKnown && !signal?.aborted) return request(method, where, body, { signal, headers, query });
  }
  if (!response.ok && response.status !== 304) throw problemOf(response, text);
  return { status: response.status, headers: response.headers, body: text ? read(text) : null };
}

/** An answer of a worker; what is none is of something on the way to it, and may be over by itself. */
function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem({ title: "No answer", detail: `what came is no answer of a worker: ${text.slice(0, 100)}`, status: 0 });
  }
}

async function askOnce(problem) {
  asking ??= askForToken(problem).finally(() => (asking = null));
  return asking;
}

function problemOf(response, text) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  try {
    return new Problem({ ...JSON.parse(text), status: response.status }, retryAfter);
  } catch {
    const title = response.statusText || "Not answered";
    return new Problem({ title, detail: text.slice(0, 300), status: response.status }, retryAfter);
  }
}
