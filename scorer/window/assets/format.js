// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat("en-GB", {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
});

export const count = (value) => (value == null ? "–" : whole.format(value));

export const short = (value) =>
    value == null ? "–" : Math.abs(value) < 10000 ? whole.format(value) : compact.format(value);

/** A number with the digits that say something. */
export function number(value) {
    if (value == null || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size >= 1e15 || size < 1e-4)) return value.toExponential(1);
    if (Number.isInteger(value) || size >= 1000) return whole.format(value);
    return String(Number(value.toPrecision(3)));
}

/** A rate: small ones have a digit after the point. */
export const rate = (value) => (value == null ? "–" : value > 0 && value < 10 ? value.toFixed(1) : short(value));

export function share(part, all) {
    if (!all) return "–";
    const percent = (100 * part) / all;
    return `${percent >= 10 || percent === 0 ? percent.toFixed(0) : percent >= 0.1 ? percent.toFixed(1) : percent.toPrecision(1)}%`;
}

export function bytes(value) {
    if (value == null) return "–";
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    let left = value;
    while (left >= 1024 && unit < units.length - 1) {
        left /= 1024;
        unit += 1;
    }
    return `${left >= 100 || unit === 0 ? left.toFixed(0) : left.toFixed(1)} ${units[unit]}`;
}

/** A span in seconds. */
export function span(seconds) {
    if (seconds == null) return "–";
    if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
    if (seconds < 60) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} days`;
}

export const time = (at) => clock.format(new Date(at));

export const day = (at) => new Date(at).toISOString().slice(0, 10);

export const date = (at) => dayAndClock.format(new Date(at));

/** How long ago: of today the time as well. */
export function ago(at, now = Date.now()) {
    const seconds = Math.round((now - at) / 1000);
    return seconds < 5 ? "just now" : `${span(seconds)} ago`;
}

/** A time in RFC 3339 as it stands in the record, without the T and without parts of seconds. */
export const eventTime = (text) => (text ?? "").replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");

/** A p-value as a sentence. */
export function rarity(p) {
    if (p == null) return "";
    if (p >= 0.5) return `${Math.round(p * 100)}% of the history scores as high`;
    return `1 of ${whole.format(Number((1 / p).toPrecision(2)))} in the history scores as high`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
