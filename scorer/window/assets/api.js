// Asks the scorer, and listens to it. A connection that is lost comes back by itself.

/** What the last answer or tick said, for whoever comes later. */
export const latest = { status: null, tick: null };

/** Asks for JSON. The error of an answer is its sentence. */
export async function ask(path, parameters = {}, signal) {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value != null && value !== ""));
    const address = query.size ? `/api/v1/${path}?${query}` : `/api/v1/${path}`;
    const answer = await fetch(address, { signal, headers: { accept: "application/json" } });
    const body = await answer.json().catch(() => null);
    if (!answer.ok) {
        const error = new Error(body?.error ?? `the scorer answered ${answer.status}`);
        error.status = answer.status;
        throw error;
    }
    return body;
}

/** Writes. The error of an answer is its sentence; `error.body` is the whole of it. */
export async function send(path, body) {
    const answer = await fetch(`/api/v1/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json", "x-atalaya-write": "1" },
        body: JSON.stringify(body),
    });
    const said = await answer.json().catch(() => null);
    if (!answer.ok) {
        const error = new Error(said?.error ?? `the scorer answered ${answer.status}`);
        error.status = answer.status;
        error.body = said;
        throw error;
    }
    return said;
}

/** Names a write: it is kept once, however often it is sent. */
export const requestName = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Longer than this without a tick, and what is shown is old.
const STALE_MS = 4000;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 10000;

/** Calls `onTick` with each second, and `onState` with `live`, or `lost` and since when. */
export function listen(onTick, onState) {
    let source = null;
    let heardAt = Date.now();
    let state = "connecting";
    let retry = FIRST_RETRY_MS;
    let timer = null;

    const change = (to) => {
        if (to === state) return;
        state = to;
        onState(to, heardAt);
    };
    const open = () => {
        clearTimeout(timer);
        source?.close();
        source = new EventSource("/api/v1/stream");
        source.addEventListener("tick", (event) => {
            heardAt = Date.now();
            retry = FIRST_RETRY_MS;
            latest.tick = JSON.parse(event.data);
            change("live");
            onTick(latest.tick);
        });
        source.addEventListener("error", () => {
            // The browser tries again by itself unless the answer was no stream at all.
            if (source.readyState !== EventSource.CLOSED) return;
            timer = setTimeout(open, retry);
            retry = Math.min(retry * 2, LAST_RETRY_MS);
        });
    };
    const close = () => {
        clearTimeout(timer);
        source?.close();
        source = null;
    };
    const resume = () => {
        if (source) return;
        // What was missed while nobody looked is no lost connection.
        heardAt = Date.now();
        open();
    };
    setInterval(() => {
        if (source && Date.now() - heardAt > STALE_MS) change("lost");
    }, 500);
    // A browser has six connections to a scorer: pages that nobody sees leave theirs to others.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : resume()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", resume);
    // A laptop that wakes up does not wait for the next try.
    addEventListener("online", open);
    if (!document.hidden) open();
}
