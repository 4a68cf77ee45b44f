// The HTTP API, as the pages use it.
//
// Knows requests and problem details (RFC 9457); never knows an element. Rules: every POST has an
// Idempotency-Key, so one that was cut, or answered "not now", is sent again without fear of doing it twice.

import { base, roomId, token } from "./place.js";

const TRIES = 3;
const WAIT_MS = 700;

/** An answer that was no success. `code` is the problem's, or `unreachable`. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.code = code;
  }
}

const room = `${base}v1/rooms/${encodeURIComponent(roomId)}`;

export const api = {
  get: (path = "") => request("GET", path),
  put: (path, body) => request("PUT", path, body),
  post: (path, body) => request("POST", path, body, newKey()),
  delete: (path) => request("DELETE", path),
};

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function request(method, path, body, key) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (key) headers["Idempotency-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  for (let left = TRIES - 1; ; left--) {
    const answer = await fetch(room + path, options).catch(() => null);
    if (answer !== null && answer.status !== 503 && answer.status !== 429) return read(answer);
    if (left === 0) {
      if (answer !== null) return read(answer);
      throw new Problem(0, "unreachable", "The server cannot be reached.");
    }
    const seconds = Number(answer?.headers.get("Retry-After"));
    await new Promise((resolve) => setTimeout(resolve, seconds > 0 ? seconds * 1000 : WAIT_MS));
  }
}

async function read(answer) {
  const text = await answer.text();
  const isJson = /\bjson\b/.test(answer.headers.get("Content-Type") ?? "");
  const value = text && isJson ? JSON.parse(text) : null;
  if (answer.ok) return value;
  throw new Problem(answer.status, value?.code ?? "", value?.detail ?? `The server answered ${answer.status}.`);
}
