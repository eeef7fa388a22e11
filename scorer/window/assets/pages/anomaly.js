// One anomaly: what it is, why it is one, and what else there is of the same customer.

import { ask, latest } from "../api.js";
import { fill, h, said, visible } from "../dom.js";
import { count, date, eventTime, number, rarity } from "../format.js";
import { empty, linkTo, severity, strip, value, when } from "../parts.js";
import { last } from "./anomalies.js";
import { review } from "./review.js";

export const title = "Anomaly";

export function open(root, parameters, { status, go }) {
    const { about } = status;
    const id = parameters.get("id") ?? "";
    const stopped = new AbortController();
    const back = () => go(`/anomalies${last.search}`);
    const step = (by) => {
        const next = last.ids[last.ids.indexOf(id) + by];
        if (next && last.ids.includes(id)) go(linkTo({ id: next }));
    };

    let card = null;
    let shown = null;
    const KEYS = { 1: "anomaly", 2: "false_alarm", 3: "unsure", 0: null };
    const refresh = async () => {
        try {
            card.update(await ask("anomaly", { id }, stopped.signal));
        } catch {
            /* It may have gone, or nobody answers, which the banner says. */
        }
    };

    // What was not found may come while the window is filled; whoever did not answer may answer later.
    let failed = null;
    const load = () => {
        failed = null;
        const before = (latest.tick ?? status).window.anomalies_version;
        ask("anomaly", { id }, stopped.signal)
            .then((anomaly) => {
                document.title = `${visible(anomaly.key)} · Atalaya`;
                const kept = (latest.tick ?? status).window.labels_kept;
                card = review(anomaly, about, kept);
                fill(root, whole(anomaly, about, card.element));
            })
            .catch((error) => {
                if (error.name === "AbortError") return;
                failed = { version: error.status ? before : null };
                const isRefilling = (latest.tick ?? status).window.is_refilling;
                fill(
                    root,
                    empty("This anomaly cannot be shown", reason(error, isRefilling)),
                    h("p", { class: "state" }, h("a", { href: `/anomalies${last.search}` }, "Back to the list")),
                );
            });
    };
    fill(root, h("p", { class: "state" }, "Loading…"));
    load();
    return {
        tick(tick) {
            if (failed && failed.version !== tick.window.anomalies_version) load();
            if (!card || tick.window.labels_version === shown) return;
            shown = tick.window.labels_version;
            refresh();
        },
        key(key) {
            if (key === "u") back();
            else if (key in KEYS && card) card.say(KEYS[key]);
            else if (key === "j") step(1);
            else if (key === "k") step(-1);
            else return false;
            return true;
        },
        leave: () => stopped.abort(),
    };
}

function reason(error, isRefilling) {
    if (!error.status) return "The scorer does not answer; the page tries again once it does.";
    if (isRefilling) return "The window is still reading what was published before; the page tries again.";
    return `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
}

function whole(anomaly, about, word) {
    const worst = anomaly.verdicts.find((it) => it.detector === anomaly.worst_detector) ?? anomaly.verdicts[0];
    return [
        h(
            "p",
            { class: "crumbs" },
            h("a", { href: `/anomalies${last.search}` }, "Anomalies"),
            " / ",
            said(anomaly.key),
        ),
        h(
            "div",
            { class: "title" },
            h("h1", null, `${about.words.entity[0].toUpperCase()}${about.words.entity.slice(1)} `, said(anomaly.key)),
            severity(anomaly.severity),
            anomaly.state === "hidden"
                ? h("a", { class: "word", href: "/exceptions" }, "hidden by an exception")
                : null,
        ),
        h("p", { class: "reason" }, said(anomaly.reason ?? "No reason was published.")),
        h(
            "div",
            { class: "columns one" },
            h(
                "div",
                { class: "stack" },
                h(
                    "section",
                    { class: "card" },
                    h(
                        "header",
                        null,
                        h("h2", null, "Why"),
                        h("span", { class: "muted" }, "value against the usual range"),
                    ),
                    why(anomaly.verdicts, worst),
                ),
                h(
                    "section",
                    { class: "card" },
                    h("header", null, h("h2", null, "What each detector says")),
                    h(
                        "div",
                        { class: "verdicts" },
                        about.detectors.map((detector) => opinion(anomaly, detector)),
                    ),
                ),
                anomaly.related.map((it) => related(anomaly, it, about)),
            ),
            h(
                "div",
                { class: "stack" },
                word,
                h(
                    "section",
                    { class: "card" },
                    h("header", null, h("h2", null, `The ${about.words.entity}`)),
                    facts(anomaly, about),
                ),
                h(
                    "section",
                    { class: "card" },
                    h("header", null, h("h2", null, "Where its records are")),
                    source(worst?.source),
                ),
                h(
                    "section",
                    { class: "card" },
                    h(
                        "details",
                        null,
                        h("summary", null, "Messages as they were published"),
                        anomaly.verdicts.map((it) =>
                            h("pre", { class: "raw", tabindex: "0" }, lines(JSON.stringify(it, null, 2))),
                        ),
                    ),
                ),
            ),
        ),
    ];
}

// Lines that this page makes stay lines; what a record holds is in JSON, where a line break is written as \n.
const lines = (text) =>
    text.split("\n").flatMap((line, index) => (index ? [document.createTextNode("\n"), line] : [line]));

function why(verdicts, worst) {
    const explained = verdicts.filter((it) => it.anomalous && it.explanation?.length);
    if (explained.length) {
        const order = [worst, ...explained.filter((it) => it !== worst)].filter((it) => explained.includes(it));
        return order.map((it, index) =>
            h(
                "details",
                { class: "why", open: index === 0 },
                h(
                    "summary",
                    null,
                    it.detector,
                    it.approximate ? h("span", { class: "muted" }, " (shares are approximate)") : null,
                ),
                h("ul", { class: "features" }, it.explanation.map(feature)),
            ),
        );
    }
    const of = verdicts.find((it) => it.anomalous);
    if (!of?.features) return h("p", { class: "state" }, "This message explains nothing.");
    return h(
        "dl",
        { class: "facts" },
        Object.entries(of.features).flatMap(([name, n]) => [h("dt", null, said(name)), h("dd", null, value(n))]),
    );
}

/** A feature: in words, its share of the score, and its value beside the usual range. */
function feature(it) {
    const isUnusual = it.low != null ? it.value < it.low || it.value > it.high : it.value !== it.usual;
    return h(
        "li",
        { class: `feature${isUnusual ? " unusual" : ""}` },
        h("span", { class: "feature-text" }, said(it.text)),
        h("span", { class: "feature-share", title: "share of the score" }, `${Math.round(it.share * 100)}%`),
        range(it),
        h(
            "span",
            { class: "feature-name" },
            said(it.feature),
            it.low != null
                ? `: ${number(it.value)}, usual ${number(it.low)} to ${number(it.high)}${it.unit ? ` ${visible(it.unit)}` : ""}`
                : `: ${number(it.value)}, usual ${number(it.usual)}`,
        ),
    );
}

/** Value, usual value and usual range on one line. Far values are brought nearer, and the line says so. */
function range({ value: at, usual, low, high }) {
    const [from, to] = [Math.min(low ?? usual, usual), Math.max(high ?? usual, usual)];
    const width = Math.max(to - from, Math.abs(usual) * 0.2, 1e-9);
    const distance = at > to ? at - to : at < from ? from - at : 0;
    // Within three widths of the range the line is linear; beyond, each step is ten times the one before.
    const isFar = distance > 3 * width;
    const reach = isFar ? 3 + Math.log10(distance / (3 * width)) * 1.5 : distance / width;
    const place = (n) => (n > to ? to + Math.min(reach, 9) * width : n < from ? from - Math.min(reach, 9) * width : n);
    const [low_, high_] = [
        Math.min(from - width, place(at) - width * 0.4),
        Math.max(to + width, place(at) + width * 0.4),
    ];
    const percent = (n) => `${(100 * (n - low_)) / (high_ - low_)}%`;
    const words = `${number(at)}; usual ${number(low ?? usual)} to ${number(high ?? usual)}`;
    return h(
        "span",
        {
            class: "range",
            role: "img",
            "aria-label": words,
            title: isFar ? `${words}; the value is further away than it is drawn` : words,
        },
        h("i", { class: "range-usual", style: { left: percent(from), right: `${100 - parseFloat(percent(to))}%` } }),
        h("i", { class: "range-middle", style: { left: percent(usual) } }),
        h("i", {
            class: `range-way${isFar ? " far" : ""}`,
            style: {
                left: percent(Math.min(place(at), at > to ? to : place(at))),
                right: `${100 - parseFloat(percent(Math.max(place(at), at < from ? from : place(at))))}%`,
            },
        }),
        h("i", { class: "range-value", style: { left: percent(place(at)) } }),
    );
}

/** Score and threshold, or that nothing was published. */
function opinion(anomaly, detector) {
    const it = anomaly.verdicts.find((verdict) => verdict.detector === detector.name);
    if (!it) {
        return h(
            "div",
            { class: "verdict silent" },
            h("h3", null, detector.name),
            h(
                "p",
                null,
                "No verdict was published: ",
                detector.algorithm === "zscore-window"
                    ? "it judges when its windows are complete."
                    : "its score is not above its threshold.",
            ),
        );
    }
    const most = Math.max(it.score, it.threshold) * 1.1;
    const part = (n) => `${Math.max(0, Math.min(100, (100 * n) / most))}%`;
    const gauge =
        it.threshold > 0
            ? h(
                  "span",
                  {
                      class: "gauge",
                      role: "img",
                      "aria-label": `score ${number(it.score)}, threshold ${number(it.threshold)}`,
                  },
                  h("i", { class: "gauge-score", style: { width: part(it.score) } }),
                  h("i", { class: "gauge-threshold", style: { left: part(it.threshold) } }),
              )
            : null;
    const facts = [
        it.ratio != null ? `${number(it.ratio)} times the threshold` : null,
        rarity(it.p_value),
        it.cluster != null ? `cluster ${it.cluster}` : null,
        `model ${it.model_version}`,
    ].filter(Boolean);
    return h(
        "div",
        { class: `verdict ${it.anomalous ? "on" : "off"}` },
        h(
            "h3",
            null,
            said(it.detector),
            it.anomalous ? severity(it.severity) : h("span", { class: "severity none" }, "normal"),
        ),
        gauge,
        h("p", null, h("b", null, `score ${number(it.score)}`), `, threshold ${number(it.threshold)}`),
        h("p", { class: "muted" }, facts.join(" · ")),
        it.reason && it.reason !== anomaly.reason ? h("p", null, said(it.reason)) : null,
    );
}

function facts(anomaly, about) {
    const first = anomaly.verdicts[0] ?? {};
    const entries = [
        ...(anomaly.customer
            ? [
                  [
                      about.words.customer ?? "Customer",
                      h(
                          "a",
                          { href: `/anomalies?${new URLSearchParams({ customer: anomaly.customer, state: "all" })}` },
                          said(anomaly.customer),
                      ),
                  ],
              ]
            : []),
        ...Object.entries(anomaly.fields).map(([name, of]) => [name, value(of)]),
        ["Records", count(anomaly.lines)],
        ["From", eventTime(first.first_timestamp)],
        ...(first.last_timestamp !== first.first_timestamp ? [["To", eventTime(first.last_timestamp)]] : []),
        ["Scored", date(anomaly.at)],
        ...(first.closed_early ? [["Closed early", "a limit closed it; later records of it may exist"]] : []),
    ];
    return h(
        "dl",
        { class: "facts" },
        entries.flatMap(([name, of]) => [h("dt", null, said(name)), h("dd", null, of)]),
    );
}

function source(of) {
    if (!of) return h("p", { class: "state" }, "The message does not say.");
    const runs = of.offsets.map(([from, to]) => (from === to ? `${from}` : `${from} – ${to}`));
    const more = of.offset_runs ? `, and ${count(of.offset_runs - runs.length)} more runs` : "";
    return h(
        "dl",
        { class: "facts" },
        h("dt", null, "Topic"),
        h("dd", null, said(of.topic)),
        h("dt", null, "Partition"),
        h("dd", null, String(of.partition)),
        h("dt", null, runs.length > 1 ? "Offsets" : "Offset"),
        h("dd", { class: "offsets" }, runs.join(", "), more),
    );
}

function related(anomaly, { by, value: of, anomalies }, about) {
    const name = by === "customer" ? (about.words.customer ?? "customer") : by;
    const all = [anomaly, ...anomalies];
    const times = all.map((it) => it.at);
    const marks = all.map((it) => ({ at: it.at, severity: it.severity, isThis: it.id === anomaly.id }));
    return h(
        "section",
        { class: "card" },
        h("header", null, h("h2", null, "Others with the same ", said(name)), h("span", { class: "muted" }, said(of))),
        anomalies.length
            ? [
                  strip(marks, Math.min(...times), Math.max(...times), `${all.length} anomalies over time`),
                  h(
                      "ul",
                      { class: "short-list" },
                      anomalies
                          .slice(0, 8)
                          .map((it) =>
                              h(
                                  "li",
                                  null,
                                  h(
                                      "a",
                                      { href: linkTo(it) },
                                      severity(it.severity),
                                      h("span", { class: "short-key" }, said(it.key)),
                                      h("span", { class: "short-reason" }, said(it.reason ?? "")),
                                      when(it.at),
                                  ),
                              ),
                          ),
                  ),
              ]
            : h("p", { class: "state" }, "This is the only one that is kept here."),
    );
}
