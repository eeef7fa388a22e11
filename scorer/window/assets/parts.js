// Parts that several pages are made of.

import { h, said, svg } from "./dom.js";
import { ago, date, number } from "./format.js";

const LEVELS = ["low", "medium", "high", "critical"];

/** What an analyst can say of an anomaly. */
export const WORDS = { anomaly: "Anomaly", false_alarm: "False alarm", unsure: "Unsure" };

/** How bad an anomaly is: in words, and in bars for those who scan. */
export function severity(level) {
    if (!level) return h("span", { class: "severity none" }, "not rated");
    const height = LEVELS.indexOf(level) + 1;
    const bars = LEVELS.map((_, index) =>
        svg("rect", {
            x: index * 4,
            y: 8 - index * 2,
            width: 3,
            height: 3 + index * 2,
            class: index < height ? "on" : "off",
        }),
    );
    return h(
        "span",
        { class: `severity ${level}` },
        svg("svg", { viewBox: "0 0 15 12", width: 15, height: 12, "aria-hidden": "true" }, bars),
        level,
    );
}

/** The address of an anomaly. */
export const linkTo = (anomaly) => `/anomaly?${new URLSearchParams({ id: anomaly.id })}`;

/** When something was, with the whole date for those who point at it. */
export function when(at, now) {
    return h("time", { datetime: new Date(at).toISOString(), title: date(at) }, ago(at, now));
}

/** What each detector says, in short; those that said nothing are there too. */
export function opinions(anomaly, detectors) {
    return h(
        "span",
        { class: "opinions" },
        detectors.map(({ name }) => {
            const opinion = anomaly.opinions.find((it) => it.detector === name);
            const kind = !opinion ? "silent" : opinion.anomalous ? `on ${opinion.severity ?? ""}` : "off";
            const words = !opinion
                ? "no verdict was published"
                : opinion.anomalous
                  ? `anomalous${opinion.severity ? `, ${opinion.severity}` : ""}`
                  : "normal";
            const ratio = opinion?.ratio != null ? ` ${number(opinion.ratio)}×` : "";
            return h(
                "span",
                { class: `opinion ${kind}`, title: `${name}: ${words}` },
                name,
                h("b", null, ratio),
                h("span", { class: "hidden" }, ` ${words}`),
            );
        }),
    );
}

/** A value of a field. */
export function value(of) {
    if (of == null) return h("span", { class: "muted" }, "none");
    return typeof of === "number" ? h("span", { class: "number" }, number(of)) : said(of);
}

/** Something to say instead of an empty list: what it means, and what to do. */
export function empty(title, ...words) {
    // A page that has nothing else has this for its title.
    const level = document.querySelector("#main h1") ? "h2" : "h1";
    return h(
        "div",
        { class: "empty" },
        h(level, null, title),
        words.map((text) => h("p", null, text)),
    );
}

/** Bars of a list of names with numbers, the largest first. */
export function bars(entries, { onpick, picked, words = String } = {}) {
    const most = Math.max(1, ...entries.map(([, n]) => n));
    const bar = ([name, n]) => {
        const inner = [
            h("span", { class: "bar-name" }, said(words(name))),
            h("span", { class: "bar-count" }, n.toLocaleString("en")),
            h("span", { class: "bar-line", style: { "--part": n / most }, "aria-hidden": "true" }),
        ];
        if (!onpick) return h("li", { class: "bar" }, inner);
        return h(
            "li",
            null,
            h(
                "button",
                { class: "bar", type: "button", "aria-pressed": String(picked === name), onclick: () => onpick(name) },
                inner,
            ),
        );
    };
    return h("ul", { class: "bars" }, entries.map(bar));
}

/** A number with a name. */
export function tile(name, extra) {
    const main = h("span", { class: "tile-value" }, "–");
    const note = h("span", { class: "tile-note" });
    const element = h("div", { class: "tile" }, h("span", { class: "tile-name" }, name), main, note, extra);
    return { element, main, note };
}

/** A choice of a few, as buttons side by side. */
export function choice(label, options, picked, onpick) {
    return h(
        "div",
        { class: "choice", role: "group", "aria-label": label },
        options.map(([name, words]) =>
            h(
                "button",
                {
                    type: "button",
                    "aria-pressed": String(name === picked),
                    "data-name": name,
                    onclick: () => onpick(name),
                },
                words,
            ),
        ),
    );
}

/** Points on a line of time. */
export function strip(marks, from, to, label) {
    const place = (at) => (to > from ? (100 * (at - from)) / (to - from) : 100);
    const sorted = [...marks].sort((a, b) => LEVELS.indexOf(a.severity) - LEVELS.indexOf(b.severity));
    return h(
        "div",
        { class: "strip", role: "img", "aria-label": label },
        sorted.map((mark) =>
            h("span", {
                class: `mark ${mark.severity ?? "none"}${mark.isThis ? " this" : ""}`,
                style: { left: `${Math.min(100, Math.max(0, place(mark.at)))}%` },
            }),
        ),
    );
}
