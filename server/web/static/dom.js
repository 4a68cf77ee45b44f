// Elements made and found. Rule for every page: what came over the wire is shown through `textContent` or an
// attribute set here, never parsed as markup.

/** Find the element with an id that the page's own markup must have. */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Make an element. `attributes` holds attributes; `class` and `text` do as they say, `on` maps events to
 * listeners; null and false leave an attribute out. Children are elements or strings.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [type, run] of Object.entries(value)) element.addEventListener(type, run);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Set text only when it changes: live regions speak, and browsers lay out, on every write. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return `text` as an http(s) address, or null: no other scheme may become a link or a picture. */
export function httpUrl(text) {
  if (!text) return null;
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  heart:
    "M12 20.7C6.3 16.7 3 13.5 3 9.600A4.9 4.9 0 0 1 7.9 4.700c1.7 0 3.2.9 4.1 2.200a4.9 4.9 0 0 1 4.1-2.200A4.9 4.9 0 0 1 21 9.600c0 3.9-3.3 7.1-9 11.100z",
};

/** Make an icon that says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}
