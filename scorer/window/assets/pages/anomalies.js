// Anomalies: one row an entity, live.

import { ask } from "../api.js";
import { fill, h, said, say } from "../dom.js";
import { count, eventTime, plural } from "../format.js";
import { choice, empty, linkTo, opinions, severity, value, when } from "../parts.js";

export const title = "Anomalies";

const PAGE = 100;
const LEVELS = [
    ["", "All"],
    ["medium", "Medium +"],
    ["high", "High +"],
    ["critical", "Critical"],
];
const SORTS = [
    ["newest", "Newest first"],
    ["worst", "Worst first"],
];

// The list that somebody looked at last, for `u` and for the next one on the page of one.
export const last = { search: "", ids: [] };

export function open(root, parameters, { status, go }) {
    const { about } = status;
    const asked = Object.fromEntries(
        ["q", "severity", "detector", "customer", "sort"].map((name) => [name, parameters.get(name) ?? ""]),
    );
    let page = Number(parameters.get("page") ?? 1);
    let request = null;
    let shown = { anomalies: [], version: null, matching: 0 };
    let at = -1;
    let isWaiting = false;

    const search = h("input", {
        type: "search",
        placeholder: `Search keys, ${about.words.customer ?? "customers"}, reasons  ( / )`,
        "aria-label": "Search",
        value: asked.q,
        maxlength: "200",
    });
    const picker = h(
        "select",
        { "aria-label": "Detector", onchange: () => change({ detector: picker.value }) },
        h("option", { value: "" }, "Every detector"),
        about.detectors.map(({ name }) => h("option", { value: name, selected: asked.detector === name }, name)),
    );
    const news = h("button", {
        type: "button",
        class: "news",
        hidden: true,
        onclick: () => {
            scrollTo({ top: 0 });
            load();
        },
    });
    const summary = h("p", { class: "summary", "aria-live": "polite" });
    const list = h("div", { class: "list" });
    const pages = h("nav", { class: "pages", "aria-label": "Pages of the list" });
    let typing = null;
    search.addEventListener("input", () => {
        clearTimeout(typing);
        typing = setTimeout(() => change({ q: search.value }, true), 200);
    });

    const change = (what, isTyping = false) => {
        Object.assign(asked, what);
        page = 1;
        at = -1;
        history[isTyping ? "replaceState" : "pushState"](null, "", here());
        showChoices();
        load();
    };
    const here = () => {
        const query = new URLSearchParams(Object.entries(asked).filter(([, of]) => of));
        if (page > 1) query.set("page", page);
        last.search = query.size ? `?${query}` : "";
        return `/anomalies${last.search}`;
    };
    const choices = h("div", { class: "filters" });
    const showChoices = () =>
        fill(
            choices,
            choice("Severity", LEVELS, asked.severity, (name) => change({ severity: name })),
            about.detectors.length > 1 ? picker : null,
            choice("Order", SORTS, asked.sort || "newest", (name) => change({ sort: name === "newest" ? "" : name })),
            asked.customer
                ? h(
                      "button",
                      {
                          type: "button",
                          class: "chip",
                          onclick: () => change({ customer: "" }),
                          "aria-label": `Not only of ${asked.customer}`,
                      },
                      said(asked.customer),
                      " ×",
                  )
                : null,
        );

    fill(
        root,
        h("div", { class: "title" }, h("h1", null, "Anomalies"), summary),
        h("div", { class: "toolbar" }, search, choices),
        news,
        list,
        pages,
    );

    const load = async () => {
        request?.abort();
        request = new AbortController();
        const selected = shown.anomalies[at]?.id;
        try {
            shown = await ask("anomalies", { ...asked, skip: (page - 1) * PAGE || null, limit: PAGE }, request.signal);
        } catch (error) {
            if (error.name !== "AbortError" && error.status)
                fill(list, h("p", { class: "state" }, `The list cannot be shown: ${error.message}.`));
            return;
        }
        news.hidden = true;
        last.ids = shown.anomalies.map((it) => it.id);
        at = selected ? shown.anomalies.findIndex((it) => it.id === selected) : -1;
        draw();
    };
    const draw = () => {
        const isFiltered = asked.q || asked.severity || asked.detector || asked.customer;
        say(
            summary,
            isFiltered
                ? `${count(shown.matching)} of ${count(shown.kept)} ${about.words.entities}`
                : plural(shown.matching, about.words.entity, about.words.entities),
        );
        if (!shown.anomalies.length) {
            fill(
                list,
                isFiltered
                    ? empty("Nothing matches", "No anomaly that is kept here fits this search and these filters.")
                    : empty(
                          "No anomalies yet",
                          `Detectors look at every ${about.words.entity} of ${about.topic}. What they flag is listed here at once, and stays in the topics ${about.detectors.map((it) => it.topic).join(", ")}.`,
                      ),
            );
        } else fill(list, h("ol", { class: "rows" }, shown.anomalies.map(row)));
        const all = Math.ceil(shown.matching / PAGE);
        fill(
            pages,
            all > 1
                ? [
                      h("button", { type: "button", disabled: page <= 1, onclick: () => turn(-1) }, "Previous"),
                      h("span", null, `page ${page} of ${all}`),
                      h("button", { type: "button", disabled: page >= all, onclick: () => turn(1) }, "Next"),
                  ]
                : null,
        );
        mark(false);
    };
    const turn = (by) => {
        page += by;
        at = -1;
        history.pushState(null, "", here());
        scrollTo(0, 0);
        load();
    };
    const row = (anomaly) =>
        h(
            "li",
            { class: "row" },
            h(
                "a",
                { href: linkTo(anomaly), class: "row-link" },
                h("span", { class: "row-severity" }, severity(anomaly.severity)),
                h(
                    "span",
                    { class: "row-key" },
                    said(anomaly.key),
                    anomaly.customer
                        ? h(
                              "small",
                              null,
                              about.words.customer ? `${about.words.customer} ` : "",
                              said(anomaly.customer),
                          )
                        : null,
                ),
                h(
                    "span",
                    { class: "row-reason" },
                    said(anomaly.reason ?? "no reason was published"),
                    h("small", null, opinions(anomaly, about.detectors), fields(anomaly)),
                ),
                h("span", { class: "row-when" }, when(anomaly.at), h("small", null, eventTime(anomaly.event_time))),
            ),
        );
    const fields = (anomaly) =>
        h(
            "span",
            { class: "row-fields" },
            Object.entries(anomaly.fields)
                .filter(([, of]) => of != null)
                .slice(0, 4)
                .map(([name, of]) => h("span", null, `${name} `, value(of))),
        );
    const mark = (isMoved) => {
        const rows = list.querySelectorAll(".row-link");
        rows.forEach((link, index) => link.classList.toggle("here", index === at));
        if (isMoved) rows[at]?.focus();
    };

    showChoices();
    here();
    load();
    return {
        tick(tick) {
            if (tick.window.anomalies_version === shown.version || shown.version == null || isWaiting) return;
            // Rows do not move under somebody who reads them.
            if (scrollY > 60 || at > 0 || page > 1) {
                const more = tick.window.entities - (shown.kept ?? 0);
                news.hidden = false;
                say(
                    news,
                    more > 0
                        ? `${plural(more, `new ${about.words.entity}`, `new ${about.words.entities}`)}: show`
                        : "There is news: show",
                );
                return;
            }
            isWaiting = true;
            load().finally(() => {
                isWaiting = false;
            });
        },
        key(key, event) {
            if (key === "/") (search.focus(), search.select());
            else if (key === "j" || key === "k") {
                at = Math.min(shown.anomalies.length - 1, Math.max(0, at + (key === "j" ? 1 : -1)));
                mark(true);
            } else if (key === "Enter" && at >= 0 && !event.target.closest("a, button"))
                go(linkTo(shown.anomalies[at]));
            else return false;
            return true;
        },
        leave() {
            request?.abort();
            clearTimeout(typing);
        },
    };
}
