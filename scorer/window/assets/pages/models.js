// Models: what the detectors learned, and how many they flag.

import { ask } from "../api.js";
import { seriesName } from "../charts.js";
import { fill, h, said } from "../dom.js";
import { count, day, number, share } from "../format.js";

export const title = "Models";

const EVERY_MS = 5000;

export function open(root, _parameters, { status }) {
    const { about } = status;
    const stopped = new AbortController();
    let loadedAt = 0;
    const body = h("div", null, h("p", { class: "state" }, "Loading…"));
    fill(root, h("div", { class: "title" }, h("h1", null, "Models")), body);
    const load = async () => {
        loadedAt = Date.now();
        try {
            const [found, right] = await Promise.all([
                ask("models", {}, stopped.signal),
                ask("precision", {}, stopped.signal),
            ]);
            const open = new Set([...body.querySelectorAll("details[open]")].map((it) => it.dataset.of));
            fill(
                body,
                agreement(found, about),
                drift(found.drift, about),
                h(
                    "div",
                    { class: "columns models" },
                    found.detectors.map((it, index) => model(it, index, found, open, right)),
                ),
            );
        } catch (error) {
            if (error.status) fill(body, h("p", { class: "state" }, `The models cannot be shown: ${error.message}.`));
        }
    };
    load();
    return {
        tick() {
            if (Date.now() - loadedAt >= EVERY_MS) load();
        },
        leave: () => stopped.abort(),
    };
}

function model(it, index, found, open, right) {
    const flagged = found.anomalies[it.name] ?? 0;
    const threshold =
        it.threshold == null
            ? "–"
            : it.highest_threshold > it.threshold
              ? `${number(it.threshold)} to ${number(it.highest_threshold)}, by cluster`
              : number(it.threshold);
    const facts = [
        ["Algorithm", it.algorithm],
        ["Threshold", threshold],
        ["Chosen by", it.threshold_policy],
        ["Trained on", it.trained_on == null ? "needs no training" : `${count(it.trained_on)} ${found.words.entities}`],
        ["Version", it.model_version ?? "–"],
        ["Publishes to", it.topic],
    ];
    return h(
        "section",
        { class: "card" },
        h("header", null, h("h2", null, h("i", { class: `swatch ${seriesName(index)}` }), said(it.name))),
        h(
            "div",
            { class: "flagged" },
            rateBar(index, "Flagged now", flagged, found.scored),
            it.trained_on ? rateBar(index, "In training", it.flagged_in_training, it.trained_on) : null,
        ),
        precision(it.name, right),
        h(
            "dl",
            { class: "facts" },
            facts.flatMap(([name, of]) => [h("dt", null, name), h("dd", null, of)]),
        ),
        it.features.length ? features(it, open) : null,
    );
}

/** How often analysts agreed, in all and by the day of the anomaly. */
function precision(name, { detectors, days }) {
    const said = detectors[name] ?? { anomaly: 0, false_alarm: 0, unsure: 0 };
    const known = said.anomaly + said.false_alarm;
    const unsure = said.unsure ? `, ${count(said.unsure)} unsure` : "";
    const of = days.map(({ at, detectors: by }) => ({ at, ...by[name] })).filter((it) => it.anomaly || it.false_alarm);
    const most = Math.max(1, ...of.map((it) => it.anomaly + it.false_alarm));
    const words = (it) => {
        const all = it.anomaly + it.false_alarm;
        return `${day(it.at)}: ${share(it.anomaly, all)} right, ${count(it.anomaly)} of ${count(all)}`;
    };
    const bar = (it) =>
        h(
            "span",
            { class: "right-day", title: words(it) },
            h("i", { class: "false_alarm", style: { height: `${(100 * it.false_alarm) / most}%` } }),
            h("i", { class: "anomaly", style: { height: `${(100 * it.anomaly) / most}%` } }),
        );
    return h(
        "div",
        { class: "right" },
        h(
            "div",
            { class: "rate" },
            h("span", null, "Right, analysts say"),
            h("b", null, share(said.anomaly, known)),
            h(
                "span",
                { class: "muted" },
                known ? `${count(said.anomaly)} of ${count(known)}${unsure}` : `nothing said yet${unsure}`,
            ),
        ),
        of.length > 1
            ? h(
                  "div",
                  { class: "right-days", role: "img", "aria-label": `By day: ${of.map(words).join("; ")}` },
                  of.slice(-60).map(bar),
              )
            : null,
    );
}

function rateBar(index, name, part, all) {
    const percent = all ? (100 * part) / all : 0;
    return h(
        "div",
        { class: "rate" },
        h("span", null, name),
        h("b", null, share(part, all)),
        h("span", { class: "muted" }, `${count(part)} of ${count(all)}`),
        // A tenth fills the line: anomalies are rare.
        h("span", {
            class: "bar-line",
            style: { "--part": Math.min(1, percent / 10), "--bar": `var(--${seriesName(index)})` },
            "aria-hidden": "true",
        }),
    );
}

function features(it, open) {
    const named = (feature) => [
        said(feature.label ?? feature.name),
        feature.unit ? h("small", { class: "muted" }, ` ${feature.unit}`) : null,
    ];
    const of = (n) => h("td", { class: "number" }, number(n));
    const details = h(
        "details",
        { open: open.has(it.name) },
        h("summary", null, "Features and what is usual"),
        h(
            "div",
            { class: "scrolls", tabindex: "0" },
            h(
                "table",
                null,
                h(
                    "thead",
                    null,
                    h(
                        "tr",
                        null,
                        h("th", { scope: "col" }, "Feature"),
                        ["5%", "median", "95%"].map((name) => h("th", { scope: "col", class: "number" }, name)),
                    ),
                ),
                h(
                    "tbody",
                    null,
                    it.features.map((feature) =>
                        h(
                            "tr",
                            null,
                            h("th", { scope: "row" }, named(feature)),
                            of(feature.low),
                            of(feature.usual),
                            of(feature.high),
                        ),
                    ),
                ),
            ),
        ),
    );
    details.dataset.of = it.name;
    return details;
}

/** Whether the stream is still like the training, and how far each feature is from it. */
function drift(it, about) {
    if (!it) return null;
    const cell = (text) => h("td", { class: "number" }, text);
    const stability = (value) => (value == null ? "too few yet" : value.toFixed(2));
    const head = (names) =>
        h(
            "thead",
            null,
            h(
                "tr",
                null,
                names.map((name, index) => h("th", { scope: "col", class: index ? "number" : null }, name)),
            ),
        );
    const label = (name) => {
        const of = about.detectors.flatMap((detector) => detector.features).find((feature) => feature.name === name);
        return of?.label ?? name;
    };
    const row = (feature) =>
        h(
            "tr",
            null,
            h("th", { scope: "row" }, said(label(feature.name))),
            cell(stability(feature.stability)),
            cell(share(feature.outside, 1)),
            cell(share(feature.missing, 1)),
        );
    const sorted = [...it.features].sort((a, b) => (b.stability ?? -1) - (a.stability ?? -1));
    return h(
        "section",
        { class: "card agreement" },
        h("header", null, h("h2", null, "Like the training?")),
        h(
            "ul",
            null,
            it.detectors.map((detector) =>
                h(
                    "li",
                    null,
                    detector.since ? h("strong", null, said(detector.said)) : said(detector.said),
                    detector.stability == null ? null : ` PSI of the newest scores ${detector.stability.toFixed(2)}.`,
                ),
            ),
        ),
        sorted.length
            ? h(
                  "div",
                  { class: "scrolls", tabindex: "0" },
                  h(
                      "table",
                      null,
                      head(["Feature", "PSI", "outside the training", "missing"]),
                      h("tbody", null, sorted.map(row)),
                  ),
                  h("p", { class: "muted" }, "PSI: 0.1 is called a small change and 0.25 a large one."),
              )
            : null,
    );
}

/** How the first two detectors agree. */
function agreement({ agreement: it, words }, about) {
    if (!it) return null;
    const [first, second] = it.names;
    const found = it.both + it.only[0] + it.only[1];
    const part = (n, name, label) =>
        n ? h("span", { class: `part ${name}`, style: { "flex-grow": n }, title: `${label}: ${count(n)}` }) : null;
    return h(
        "section",
        { class: "card agreement" },
        h("header", null, h("h2", null, `${first} and ${second}`)),
        found
            ? [
                  h(
                      "div",
                      { class: "parts", role: "img", "aria-label": "How the two agree" },
                      part(it.only[0], "series-0", `${first} alone`),
                      part(it.both, "both", "both"),
                      part(it.only[1], "series-1", `${second} alone`),
                  ),
                  h(
                      "ul",
                      { class: "legend-list" },
                      h("li", null, h("i", { class: "swatch series-0" }), `${first} alone: ${count(it.only[0])}`),
                      h("li", null, h("i", { class: "swatch both" }), `both: ${count(it.both)}`),
                      h("li", null, h("i", { class: "swatch series-1" }), `${second} alone: ${count(it.only[1])}`),
                  ),
                  h(
                      "p",
                      null,
                      `Of ${count(found)} ${words.entities} that either flags, both flag ${share(it.both, found)}. ${count(it.neither)} are normal to both.`,
                  ),
              ]
            : h(
                  "p",
                  { class: "state" },
                  `Neither has flagged anything since the start; ${count(it.neither)} ${about.words.entities} are normal to both.`,
              ),
    );
}
