// Where this page is and who looks at it, from its address.
//
// Rules: a token stands in the fragment, which no browser sends to a server; a guest's name is kept for the tab.

const ID = /^[A-Za-z0-9_.-]{1,64}$/;

const query = new URLSearchParams(location.search);
const fragment = new URLSearchParams(location.hash.slice(1));

/** The folder this page stands in: the server may live under a path of a larger site. */
export const base = new URL(".", location.href).href;

export const roomId = ID.test(query.get("room") ?? "") ? query.get("room") : "demo";

export const token = fragment.get("token");

/** The user of `?user=`, or else `invent()`, kept for this tab. */
export function userOr(invent) {
  const given = query.get("user");
  if (given !== null && ID.test(given)) return given;
  const kept = sessionStorage.getItem("liveroom.user");
  if (kept !== null && ID.test(kept)) return kept;
  const made = invent();
  sessionStorage.setItem("liveroom.user", made);
  return made;
}

export const name = query.get("name") ?? undefined;

/** A guest's id that nobody else is likely to have. */
export function guest() {
  return `guest-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36).padStart(6, "0").slice(-6)}`;
}
