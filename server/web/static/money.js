// Money: integer minor units and a currency code, shown and read as people write it. Pure.

const formats = new Map();

function format(currency) {
  let made = formats.get(currency);
  if (made === undefined) {
    try {
      made = new Intl.NumberFormat(undefined, { style: "currency", currency });
    } catch {
      made = null; // no currency code at all
    }
    formats.set(currency, made);
  }
  return made;
}

/** How many digits of a currency stand behind the point: 2 for EUR, 0 for JPY, 3 for KWD. */
export function minorDigits(currency) {
  return format(currency)?.resolvedOptions().maximumFractionDigits ?? 2;
}

/** Write an amount of minor units: 129900 JPY is "¥129,900", 1299 EUR is "€12.99". */
export function showMoney(minor, currency) {
  const how = format(currency);
  return how === null ? `${minor} ${currency}` : how.format(minor / 10 ** minorDigits(currency));
}

/** Read what a person wrote as minor units; null when it is no amount of this currency. */
export function readMoney(text, currency) {
  const match = /^(\d{1,12})(?:[.,](\d+))?$/.exec(text.trim());
  if (match === null) return null;
  const digits = minorDigits(currency);
  const [, whole, part = ""] = match;
  if (part.length > digits) return null;
  return Number(whole + part.padEnd(digits, "0"));
}
