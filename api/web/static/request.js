// Requests of the page to the service: repeated after 429, 5xx and broken connections, for a limited time.

const RETRY_MS = 60000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 8000;
const MAX_ATTEMPTS = 8;
const ATTEMPT_MS = 600000; // an upload over a slow line

// A request that may have had an effect is repeated only if repeating it has no further one.
function isRepeatable({ method = "GET", headers = {}, repeatable = false }) {
  return repeatable || ["GET", "HEAD"].includes(method) || "Idempotency-Key" in headers;
}

function readRetryAfter(response) {
  const text = response?.headers.get("Retry-After");
  if (!text) return undefined;
  const pause = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return pause >= 0 ? pause : undefined;
}

export function choosePause(attempt, retryAfter) {
  return retryAfter ?? Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
}

// Like `fetch`. Without an answer it throws an error with a text for the user.
export async function request(path, options = {}) {
  const { repeatable, ...init } = options;
  const end = Date.now() + RETRY_MS;
  for (let attempt = 0; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, { ...init, signal: AbortSignal.timeout(ATTEMPT_MS) });
    } catch (error) {
      if (!isRepeatable(options) || error.name === "TimeoutError") throw explain(error);
    }
    const refused = response?.status === 429;
    if (response && !refused && !(response.status >= 500 && isRepeatable(options))) return response;
    const pause = choosePause(attempt, readRetryAfter(response));
    if (attempt + 1 >= MAX_ATTEMPTS || Date.now() + pause > end) {
      if (response) return response;
      throw explain();
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function explain(cause) {
  const reason = cause?.name === "TimeoutError" ? "did not answer in time" : "does not answer";
  return new Error(`The service ${reason}. Check the connection and try again.`, { cause });
}

// Sends a request and returns the JSON document of its answer.
export async function call(path, options) {
  const response = await request(path, options);
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) throw new Error("Your session has ended. Sign in in another tab, then try again here.");
  if (!response.ok) throw Object.assign(new Error(body.detail ?? `The service answered ${response.status}.`), { problem: body });
  return body;
}

export function makeKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
