/**
 * What is asked again and again.
 *
 * `live({seconds, signal, ask, show, fail})` asks, shows the answer, and asks again `seconds` after that, one second at
 * least. A page that nobody looks at asks nothing; who looks at it again sees what is new at once. What is passing, such
 * as a worker that starts, is asked again later and later, up to ten seconds; `fail` gets the problem, and null when it
 * is over. Gives a function that asks at once.
 */

import { Problem } from "./api.js";

const LEAST = 1;
const MOST = 10;

export function live({ seconds, signal, ask, show, fail }) {
  let hurry = () => {};
  let wanted = false;
  run();
  return () => {
    wanted = true;
    hurry();
  };

  async function run() {
    let pause = Math.max(seconds, LEAST);
    while (!signal.aborted) {
      if (document.hidden) await next(document, "visibilitychange", signal);
      if (signal.aborted) return;
      wanted = false;
      try {
        const answer = await ask(signal);
        if (signal.aborted) return;
        pause = Math.max(seconds, LEAST);
        fail(null);
        show(answer);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Problem)) throw error;
        pause = Math.min(Math.max(pause * 2, error.retryAfter), MOST);
        fail(error);
        if (!error.isPassing) pause = MOST;
      }
      if (wanted) await sleep(LEAST, signal);
      else await sleep(pause, signal, (now) => (hurry = now));
    }
  }
}

function next(target, event, signal) {
  return new Promise((resolve) => {
    target.addEventListener(event, resolve, { once: true, signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

function sleep(seconds, signal, interrupt = () => {}) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, seconds * 1000);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    interrupt(done);
  });
}
