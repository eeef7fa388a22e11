// Keys: what they do on every page, and what the page in front adds.

import { fill, h } from "./dom.js";

const GO = { n: "/", a: "/anomalies", l: "/alerts", e: "/entities", x: "/exceptions", r: "/errors", m: "/models" };

const HELP = [
    ["g n", "Now"],
    ["g a", "Anomalies"],
    ["g l", "Alerts"],
    ["g e", "Entities"],
    ["g x", "Exceptions"],
    ["g r", "Errors"],
    ["g m", "Models"],
    ["j  k", "Next and previous row"],
    ["Enter", "Open the row"],
    ["1", "The row, or this, is an anomaly"],
    ["2", "It is a false alarm"],
    ["3", "Unsure"],
    ["0", "Take the word back"],
    ["/", "Search"],
    ["u", "Back to the list"],
    ["Esc", "Leave a field"],
    ["?", "These keys"],
];

/** Shows or hides the list of keys. */
export function toggleHelp() {
    const dialog = document.getElementById("keys");
    if (dialog.open) return dialog.close();
    const row = ([keys, what]) =>
        h(
            "div",
            { class: "key" },
            h(
                "dt",
                null,
                keys
                    .split(" ")
                    .filter(Boolean)
                    .map((key) => h("kbd", null, key)),
            ),
            h("dd", null, what),
        );
    fill(
        dialog,
        h("h2", { id: "keys-title" }, "Keys"),
        h("dl", null, HELP.map(row)),
        h("form", { method: "dialog" }, h("button", { type: "submit" }, "Close")),
    );
    dialog.showModal();
}

/** Listens to keys; `page()` is the page in front, `go` leads to another. */
export function listenToKeys(page, go) {
    let isGoing = false;
    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("keys").open) return;
        const field = event.target.closest("input, select, textarea");
        if (field) {
            if (event.key === "Escape") field.blur();
            return;
        }
        if (isGoing) {
            isGoing = false;
            if (GO[event.key]) {
                event.preventDefault();
                go(GO[event.key]);
            }
            return;
        }
        if (event.key === "g") isGoing = true;
        else if (event.key === "?") toggleHelp();
        else if (page()?.key?.(event.key, event) !== true) return;
        event.preventDefault();
    });
}
