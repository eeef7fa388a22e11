// Now: what the stream does at this moment, and did before.

import { ask } from "../api.js";
import { chart } from "../charts.js";
import { fill, h, said, say } from "../dom.js";
import { bytes, count, rate, share, short, span } from "../format.js";
import { bars, choice, linkTo, severity, tile, when } from "../parts.js";

export const title = "Now";

const OUTCOMES = {
    scored: "scored",
    in_erroneous_entities: "in erroneous entities",
    malformed: "malformed",
    late: "late",
    duplicate: "duplicate",
    future: "from the future",
    old: "too old",
    cancellation: "of cancellations",
    already_published: "published before a restart",
    given_up: "went to another instance",
    lost: "deleted before they were read",
};

export function open(root, _parameters, { status, go }) {
    const { about } = status;
    const detectors = about.detectors.map((it) => it.name);
    const stopped = new AbortController();
    let isDay = false;
    let shownVersion = null;

    const headline = h("p", { class: "headline" });
    const tiles = {
        rate: tile("Records a second"),
        lag: tile("Behind"),
        anomalies: tile("Anomalies"),
        erroneous: tile("Erroneous"),
        commits: tile("Commit, 99%"),
        memory: tile("Memory"),
    };
    const charts = {
        rate: chart({ title: "Records a second", series: ["records"], words: rate }),
        lag: chart({ title: "Records behind", series: ["records"], words: short }),
        anomalies: chart({ title: "Anomalies a minute", series: detectors, isBars: true, words: short, step: 60 }),
    };
    const newest = h("div");
    const reasons = h("div");
    const outcomes = h("div");
    const instance = h("dl", { class: "facts" });
    const spans = h("div");
    const showSpans = () =>
        fill(
            spans,
            choice(
                "Span",
                [
                    ["15m", "15 minutes"],
                    ["24h", "24 hours"],
                ],
                isDay ? "24h" : "15m",
                (name) => {
                    isDay = name === "24h";
                    showSpans();
                    load();
                },
            ),
        );
    showSpans();

    fill(
        root,
        h("div", { class: "title" }, h("h1", null, "Now"), spans),
        headline,
        h(
            "div",
            { class: "tiles" },
            Object.values(tiles).map((it) => it.element),
        ),
        h("div", { class: "charts" }, charts.rate.element, charts.lag.element, charts.anomalies.element),
        h(
            "div",
            { class: "columns" },
            h(
                "div",
                { class: "stack" },
                h(
                    "section",
                    { class: "card" },
                    h("header", null, h("h2", null, "Newest anomalies"), h("a", { href: "/anomalies" }, "all")),
                    newest,
                ),
                h(
                    "section",
                    { class: "card" },
                    h("header", null, h("h2", null, "What became of the records")),
                    outcomes,
                ),
            ),
            h(
                "div",
                { class: "stack" },
                h("section", { class: "card" }, h("header", null, h("h2", null, "This instance")), instance),
                h(
                    "section",
                    { class: "card" },
                    h("header", null, h("h2", null, "Erroneous, by reason"), h("a", { href: "/errors" }, "all")),
                    reasons,
                ),
            ),
        ),
    );

    let series = { samples: [], anomalies: [] };
    const load = async () => {
        try {
            series = await ask("series", { span: isDay ? "24h" : "15m" }, stopped.signal);
            draw();
        } catch {
            /* The banner says that nobody answers. */
        }
    };
    const draw = () => {
        const times = series.samples.map((it) => it.at / 1000);
        charts.rate.show(times, [series.samples.map((it) => it.rate)]);
        charts.lag.show(times, [series.samples.map((it) => it.lag)]);
        const minutes = minutesOf(series.anomalies, isDay ? 24 * 60 : 60);
        charts.anomalies.show(
            minutes.map((it) => it.at / 1000),
            detectors.map((name) => minutes.map((it) => it.anomalies[name] ?? 0)),
        );
    };
    const loadNewest = async () => {
        try {
            const page = await ask("anomalies", { limit: 6 }, stopped.signal);
            fill(
                newest,
                page.anomalies.length ? h("ul", { class: "short-list" }, page.anomalies.map(line)) : nothingYet(),
            );
            const timeline = await ask("series", { span: isDay ? "24h" : "15m" }, stopped.signal);
            series.anomalies = timeline.anomalies;
        } catch {
            /* As above. */
        }
    };
    const line = (anomaly) =>
        h(
            "li",
            null,
            h(
                "a",
                { href: linkTo(anomaly) },
                severity(anomaly.severity),
                h("span", { class: "short-key" }, said(anomaly.key)),
                h("span", { class: "short-reason" }, said(anomaly.reason ?? "")),
                when(anomaly.at),
            ),
        );
    const nothingYet = () =>
        h(
            "p",
            { class: "state" },
            `None yet. As soon as a detector flags ${about.words.entity === "invoice" ? "an invoice" : "a record"} of ${about.topic}, it is here.`,
        );

    const show = (tick) => {
        const { stream, window } = tick;
        say(headline, sentence(tick, about));
        say(tiles.rate.main, rate(tick.sample?.rate));
        say(tiles.rate.note, `${short(stream.records)} since the start`);
        say(tiles.lag.main, stream.lag == null ? "–" : short(stream.lag));
        say(
            tiles.lag.note,
            stream.lag ? `records, ${span(stream.lag_seconds)}` : stream.lag === 0 ? "caught up" : "not known yet",
        );
        const anomalies = Object.values(stream.anomalies).reduce((sum, n) => sum + n, 0);
        say(tiles.anomalies.main, short(anomalies));
        say(tiles.anomalies.note, `verdicts, of ${short(stream.scored)} ${about.words.entities}`);
        say(tiles.erroneous.main, short(stream.erroneous));
        say(tiles.erroneous.note, `${share(stream.erroneous, stream.records)} of the records`);
        say(tiles.commits.main, stream.commit_p99_seconds == null ? "–" : `≤ ${span(stream.commit_p99_seconds)}`);
        say(
            tiles.commits.note,
            stream.seconds_since_commit == null ? "no commit yet" : `last one ${span(stream.seconds_since_commit)} ago`,
        );
        say(tiles.memory.main, bytes(stream.resident_bytes));
        say(tiles.memory.note, `state ${bytes(stream.state_bytes)}`);
        const byReason = Object.entries(stream.reasons)
            .sort((a, b) => b[1] - a[1])
            .slice(0, 8);
        fill(
            reasons,
            byReason.length
                ? bars(byReason, { onpick: (reason) => go(`/errors?${new URLSearchParams({ reason })}`) })
                : h("p", { class: "state" }, "No record broke a rule."),
        );
        const became = Object.entries(stream.outcomes)
            .filter(([, n]) => n > 0)
            .map(([name, n]) => [OUTCOMES[name] ?? name, n]);
        fill(outcomes, became.length ? bars(became) : h("p", { class: "state" }, "Nothing was read yet."));
        fill(
            instance,
            facts(tick, about).flatMap(([name, of]) => [h("dt", null, name), h("dd", null, of)]),
        );
        if (window.anomalies_version !== shownVersion) {
            shownVersion = window.anomalies_version;
            loadNewest();
        }
    };

    load();
    show({ ...status, sample: null });
    return {
        tick(tick) {
            if (!isDay && tick.sample && tick.sample.at !== series.samples.at(-1)?.at) {
                series.samples.push(tick.sample);
                if (series.samples.length > 900) series.samples.shift();
            }
            show(tick);
            draw();
        },
        leave() {
            stopped.abort();
            Object.values(charts).forEach((it) => it.leave());
        },
    };
}

/** The last minutes, also those without anomalies. */
function minutesOf(steps, most) {
    const last = Math.floor(Date.now() / 60000);
    const by = new Map(steps.map((step) => [step.at / 60000, step.anomalies]));
    return Array.from({ length: most }, (_, index) => last - most + 1 + index).map((minute) => ({
        at: minute * 60000,
        anomalies: by.get(minute) ?? {},
    }));
}

function sentence(tick, about) {
    const { stream } = tick;
    if (!tick.ready) return `Not reading yet: ${tick.not_ready_because}.`;
    if (!stream.partitions.owned)
        return `Standing by: other instances of group ${about.group} have all partitions of ${about.topic}.`;
    if (stream.lag == null) return `Reading ${about.topic} as group ${about.group}.`;
    if (stream.lag === 0) return `Reading ${about.topic} as group ${about.group}: everything that is there was read.`;
    return `Reading ${about.topic} as group ${about.group}: ${count(stream.lag)} records behind, the last one ${span(stream.lag_seconds)} old.`;
}

/** Records with dates that are hardly meant, by column. */
function oddDates(stream) {
    const found = Object.entries(stream.odd_dates).map(([column, records]) => `${count(records)} in ${column}`);
    return found.length ? found.join(", ") : null;
}

function facts(tick, about) {
    const { stream, window } = tick;
    const { owned, restoring, failed, waiting, standby, standby_lag } = stream.partitions;
    const reading = owned - restoring - failed;
    const progress = h(
        "span",
        null,
        `${reading} of ${owned} read`,
        restoring ? `, ${restoring} being restored` : "",
        failed ? `, ${failed} failed` : "",
        waiting ? `, ${waiting} waiting for a schema of the registry` : "",
        restoring ? h("progress", { max: owned, value: reading, "aria-label": "Partitions restored" }) : null,
    );
    return [
        ["Partitions", progress],
        [
            "Standby copies",
            standby
                ? `of ${standby} partitions of other instances, ${standby_lag ? `${count(standby_lag)} records behind` : "up to date"}`
                : null,
        ],
        [`Open ${about.words.entities}`, count(stream.open)],
        ["Delivery", about.delivery],
        ["Sent again, rolled back", `${count(stream.sent_again)}, ${count(stream.rolled_back)}`],
        [
            "Cancelled",
            stream.cancellations == null
                ? null
                : `${count(stream.cancellations)} in ${count(stream.cancellation_windows)} windows published`,
        ],
        ["Undeliverable", stream.undeliverable + stream.skipped ? count(stream.undeliverable + stream.skipped) : null],
        ["Reached limits", stream.at_limits ? `${count(stream.at_limits)} times` : null],
        ["Odd dates", oddDates(stream)],
        ["Scores computed on", about.device],
        [
            "Kept by this window",
            `${count(window.entities)} ${about.words.entities}, ${bytes(window.entity_bytes)}${window.is_refilling ? ", earlier ones are being read" : ""}`,
        ],
        [
            "Not shown for lack of time",
            window.dropped ? `${count(window.dropped)} messages; the topics have them` : null,
        ],
        ["Version", about.version],
    ].filter(([, of]) => of != null);
}
