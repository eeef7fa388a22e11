// Anomalies: one row an entity, live.

import { ask } from "../api.js";
import { fill, h, said, say } from "../dom.js";
import { count, eventTime, plural } from "../format.js";
import { choice, empty, linkTo, opinions, severity, value, when, WORDS } from "../parts.js";
import { quickly, told } from "./review.js";

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

const STATES = [
    ["", "Open"],
    ["in_review", "In review"],
    ["closed", "Closed"],
    ["hidden", "Hidden"],
    ["all", "All"],
];
const SAYING = [
    ["anomaly", "1"],
    ["false_alarm", "2"],
    ["unsure", "3"],
];
const KEYS = { 1: "anomaly", 2: "false_alarm", 3: "unsure", 0: null };

// The list that somebody looked at last, for `u` and for the next one on the page of one.
export const last = { search: "", ids: [] };

export function open(root, parameters, { status, go }) {
    const { about } = status;
    const asked = Object.fromEntries(
        ["q", "severity", "detector", "customer", "state", "sort"].map((name) => [name, parameters.get(name) ?? ""]),
    );
    let page = Number(parameters.get("page") ?? 1);
    let request = null;
    let shown = { anomalies: [], version: null, labels_version: null, matching: 0 };
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
    const list = h("div", { class: "list" }, h("p", { class: "state" }, "Loading…"));
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
            choice("State", STATES, asked.state, (name) => change({ state: name })),
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
            // Of all, those that an exception hides are left out.
            const state = asked.state === "all" ? null : asked.state || "open";
            shown = await ask(
                "anomalies",
                { ...asked, state, skip: (page - 1) * PAGE || null, limit: PAGE },
                request.signal,
            );
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
                    : asked.state || shown.kept
                      ? empty(...nothing[asked.state || "open"])
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
    const nothing = {
        open: ["Nothing is open", "Somebody has said of every anomaly what it is, or is looking at it."],
        in_review: ["Nothing is in review", "An anomaly is in review once somebody owns it, or is unsure."],
        closed: [
            "Nothing is closed",
            "An anomaly is closed once an analyst has said that it is one, or a false alarm.",
        ],
        hidden: ["Nothing is hidden", "Exceptions hide anomalies of a customer for a reason, until a day."],
        all: ["No anomalies yet", "What detectors flag is listed here at once."],
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
                    anomaly.label ? sayings(anomaly.label) : null,
                ),
                h("span", { class: "row-when" }, when(anomaly.at), h("small", null, eventTime(anomaly.event_time))),
            ),
            words(anomaly),
        );
    const sayings = ({ label, owner, reason }) =>
        h(
            "small",
            { class: "row-said" },
            label ? h("span", { class: `word ${label}` }, WORDS[label]) : null,
            owner ? h("span", null, "owner ", said(owner)) : null,
            reason ? said(reason) : null,
        );
    const words = (anomaly) =>
        h(
            "div",
            { class: "row-words", role: "group", "aria-label": `What ${anomaly.key} is` },
            SAYING.map(([word, key]) =>
                h(
                    "button",
                    {
                        type: "button",
                        "aria-pressed": String(anomaly.label?.label === word),
                        title: `key ${key}`,
                        onclick: () => speak(anomaly, anomaly.label?.label === word ? null : word),
                    },
                    WORDS[word],
                ),
            ),
        );
    const speak = async (anomaly, word) => {
        const index = shown.anomalies.indexOf(anomaly);
        let outcome = `${anomaly.key}: ${word ? WORDS[word].toLowerCase() : "taken back"}.`;
        try {
            await quickly(anomaly, word);
        } catch (error) {
            const theirs = error.body?.label ? `: ${told(error.body.label)}` : "";
            outcome =
                error.status === 409
                    ? `Somebody was faster on ${anomaly.key}${theirs}. Look, and say it again.`
                    : `Not saved: ${error.status ? error.message : "the scorer does not answer"}.`;
        }
        await load();
        say(summary, outcome);
        // The next one takes the place of one that has left the list.
        if (index >= 0 && shown.anomalies.length) {
            at = Math.min(index, shown.anomalies.length - 1);
            mark(true);
        }
    };
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
            if (shown.version == null || isWaiting) return;
            // What others say of what is listed is shown at once: only their rows change.
            const isSaid = tick.window.labels_version > shown.labels_version;
            if (tick.window.anomalies_version === shown.version && !isSaid) return;
            // Rows do not move under somebody who reads them.
            if (!isSaid && (scrollY > 60 || at > 0 || page > 1)) {
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
            } else if (key in KEYS && at >= 0) speak(shown.anomalies[at], KEYS[key]);
            else if (key === "Enter" && at >= 0 && !event.target.closest("a, button")) go(linkTo(shown.anomalies[at]));
            else return false;
            return true;
        },
        leave() {
            request?.abort();
            clearTimeout(typing);
        },
    };
}
