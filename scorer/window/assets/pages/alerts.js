// Alerts: what is so now, the channels that tell of it, and the rules.

import { ask, send } from "../api.js";
import { fill, h, said } from "../dom.js";
import { count, date, number, plural } from "../format.js";
import { empty, severity, when } from "../parts.js";
import { myName } from "./review.js";

export const title = "Alerts";

const SNOOZES = [
    [60, "1 h"],
    [480, "8 h"],
    [1440, "1 day"],
];

/** Changes something. */
const change = (path, parameters) =>
    send(`alerts/${path}?${new URLSearchParams({ ...parameters, by: myName() })}`, {});

export function open(root) {
    const stopped = new AbortController();
    const said_ = h("p", { class: "summary", "aria-live": "polite" });
    const firing = h("div", { class: "list" }, h("p", { class: "state" }, "Loading…"));
    const channels = h("div");
    const rules = h("div");
    const card = (name, of) => h("section", { class: "card" }, h("header", null, h("h2", null, name)), of);
    // Where the pipeline file has neither, there is nothing to see in them.
    const panels = h("div", { class: "stack panels" });
    fill(
        root,
        h("div", { class: "title" }, h("h1", null, "Alerts"), said_),
        firing,
        panels,
    );
    let shown = "";

    const load = async () => {
        let view;
        try {
            view = await ask("alerts", {}, stopped.signal);
        } catch (error) {
            if (error.status) fill(firing, h("p", { class: "state" }, `The alerts cannot be shown: ${error.message}.`));
            return;
        }
        // What somebody is about to press stays where it is.
        const { now, ...rest } = view;
        const text = JSON.stringify(rest);
        if (text === shown) return;
        shown = text;
        show(view);
    };
    const act = async (path, parameters) => {
        try {
            const done = await change(path, parameters);
            fill(said_, done.kept ? null : `Done until this scorer ends: ${done.not_kept_because}.`);
        } catch (error) {
            fill(said_, `That could not be done: ${error.message}.`);
        }
        await load();
    };
    const snoozes = (of, until) =>
        until
            ? [
                  h("span", { class: "muted" }, `quiet until ${date(until)} `),
                  h("button", { type: "button", onclick: () => act("snooze", { ...of, minutes: 0 }) }, "End"),
              ]
            : SNOOZES.map(([minutes, words]) =>
                  h(
                      "button",
                      { type: "button", title: `Say nothing for ${words}`, onclick: () => act("snooze", { ...of, minutes }) },
                      `Snooze ${words}`,
                  ),
              );
    const alert = (it) =>
        h(
            "li",
            { class: "letter" },
            h("header", null, when(it.since), h("b", null, it.rule), it.severity ? severity(it.severity) : null),
            h(
                "p",
                null,
                it.group ? [said(it.group), ": "] : null,
                it.count ? plural(it.count, "anomaly", "anomalies") : it.value != null ? number(it.value) : null,
                it.reason ? [" · ", said(it.reason)] : null,
            ),
            h(
                "p",
                { class: "muted" },
                it.last_sent ? ["last message ", when(it.last_sent)] : "no message yet",
                it.is_acknowledged ? " · acknowledged" : null,
            ),
            h(
                "div",
                { class: "actions" },
                it.is_acknowledged
                    ? null
                    : h("button", { type: "button", onclick: () => act("acknowledge", { id: it.id }) }, "Acknowledge"),
                snoozes({ id: it.id }, it.snoozed_until),
            ),
        );
    const channel = (it) =>
        h(
            "li",
            { class: "letter" },
            h(
                "header",
                null,
                h("b", null, it.name),
                h("span", { class: "kind" }, it.kind),
                it.failing_since
                    ? h("strong", { role: "status" }, "fails since ", when(it.failing_since))
                    : it.last_sent
                      ? ["last message ", when(it.last_sent)]
                      : h("span", { class: "muted" }, "nothing sent yet"),
            ),
            it.error ? h("p", null, `${plural(it.failures, "failure")} in a row: `, said(it.error)) : null,
            h(
                "p",
                { class: "muted" },
                `${count(it.sent)} sent, ${count(it.waiting)} waiting, ${count(it.refused)} refused, ${count(it.dropped)} dropped`,
            ),
        );
    const rule = (it) =>
        h(
            "li",
            { class: "letter" },
            h("header", null, h("b", null, it.name), h("span", { class: "muted" }, `to ${it.channels.join(", ")}`)),
            h("div", { class: "actions" }, snoozes({ rule: it.name }, it.snoozed_until)),
        );
    const list = (items, of) => (items.length ? h("ol", { class: "letters" }, items.map(of)) : h("p", { class: "state" }, "None."));
    const show = (view) => {
        fill(
            firing,
            view.firing.length
                ? list(view.firing, alert)
                : view.rules.length
                  ? empty("Nothing to tell", "No alert is firing.")
                  : empty("No alerts", "The pipeline file has no [[alerts]]: docs/alerts.md says how to write some."),
            view.dropped ? h("p", { class: "state" }, `${plural(view.dropped, "anomaly", "anomalies")} came too fast for the rules.`) : null,
        );
        if (view.channels.length || view.rules.length) fill(panels, card("Channels", channels), card("Rules", rules));
        else fill(panels);
        fill(channels, list(view.channels, channel));
        fill(rules, list(view.rules, rule));
    };

    load();
    return {
        tick: load,
        leave() {
            stopped.abort();
        },
    };
}
