// Entities: who has how many anomalies, and when.

import { ask } from "../api.js";
import { fill, h, said, say } from "../dom.js";
import { ago, count, plural } from "../format.js";
import { empty, severity, strip, when } from "../parts.js";

export const title = "Entities";

export function open(root, _parameters, { status, go }) {
    const { about } = status;
    const stopped = new AbortController();
    const summary = h("p", { class: "summary" });
    const list = h("div", { class: "list" }, h("p", { class: "state" }, "Loading…"));
    let version = null;
    let loadedAt = 0;
    let at = -1;
    const what = about.words.customer ?? about.words.entity;
    fill(root, h("div", { class: "title" }, h("h1", null, "Entities"), summary), list);

    const address = (group) =>
        `/anomalies?${new URLSearchParams({ ...(group.is_customer ? { customer: group.name } : { q: group.name }), state: "all" })}`;
    const load = async () => {
        loadedAt = Date.now();
        let found;
        try {
            found = await ask("entities", { limit: 100 }, stopped.signal);
        } catch (error) {
            if (error.status) fill(list, h("p", { class: "state" }, `The list cannot be shown: ${error.message}.`));
            return;
        }
        say(
            summary,
            found.all > found.entities.length
                ? `the ${count(found.entities.length)} with most of ${count(found.all)}`
                : plural(found.all, "entity", "entities"),
        );
        const from = found.oldest ?? found.now;
        fill(
            list,
            found.entities.length
                ? table(found, from)
                : empty(
                      "Nobody has anomalies yet",
                      `Each ${what} with an anomaly is listed here, the one with most first, with a mark for each on a line of time.`,
                  ),
        );
        mark(false);
    };
    const table = (found, from) =>
        h(
            "table",
            { class: "lanes" },
            h(
                "thead",
                null,
                h(
                    "tr",
                    null,
                    h("th", { scope: "col" }, what),
                    h("th", { scope: "col", class: "number" }, "Anomalies"),
                    h("th", { scope: "col" }, "Worst"),
                    h(
                        "th",
                        { scope: "col", class: "lane" },
                        h("span", { class: "lane-from" }, ago(from, found.now)),
                        h("span", { class: "lane-to" }, "now"),
                    ),
                    h("th", { scope: "col" }, "Last"),
                ),
            ),
            h(
                "tbody",
                null,
                found.entities.map((group) =>
                    h(
                        "tr",
                        null,
                        h(
                            "th",
                            { scope: "row" },
                            h("a", { href: address(group), class: "row-link" }, said(group.name)),
                            group.is_customer ? null : h("small", { class: "muted" }, ` ${about.words.entity}`),
                        ),
                        h("td", { class: "number" }, count(group.anomalies)),
                        h("td", null, severity(group.worst)),
                        h(
                            "td",
                            { class: "lane" },
                            strip(
                                group.marks.map(([when_, level]) => ({ at: when_, severity: level })),
                                from,
                                found.now,
                                plural(group.anomalies, "anomaly", "anomalies"),
                            ),
                        ),
                        h("td", null, when(group.last, found.now)),
                    ),
                ),
            ),
        );
    const mark = (isMoved) => {
        const rows = list.querySelectorAll(".row-link");
        rows.forEach((link, index) => link.closest("tr").classList.toggle("here", index === at));
        if (isMoved) rows[at]?.focus();
    };

    load();
    return {
        tick(tick) {
            // A lane moves slowly: every few seconds is enough.
            if (tick.window.anomalies_version === version || Date.now() - loadedAt < 3000 || at >= 0) return;
            version = tick.window.anomalies_version;
            load();
        },
        key(key) {
            const rows = list.querySelectorAll(".row-link");
            if (key === "j" || key === "k") {
                at = Math.min(rows.length - 1, Math.max(0, at + (key === "j" ? 1 : -1)));
                mark(true);
                return true;
            }
            if (key === "/") return (go("/anomalies"), true);
            return false;
        },
        leave: () => stopped.abort(),
    };
}
