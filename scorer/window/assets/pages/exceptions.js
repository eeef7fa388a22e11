// Exceptions: what is not shown, for whom, until when, and who said so.

import { ask, requestName, send } from "../api.js";
import { fill, h, said, say } from "../dom.js";
import { count, date, plural } from "../format.js";
import { empty } from "../parts.js";
import { myName } from "./review.js";

export const title = "Exceptions";

export function open(root, _parameters, { status }) {
    const { about } = status;
    const stopped = new AbortController();
    const message = h("p", { class: "summary", role: "status" });
    const body = h("div", null, h("p", { class: "state" }, "Loading…"));
    let shown = null;
    let entities = null;
    fill(root, h("div", { class: "title" }, h("h1", null, "Exceptions"), message), body);

    const load = async () => {
        try {
            const found = await ask("exceptions", {}, stopped.signal);
            shown = found.version;
            if (!found.exceptions.length) {
                fill(
                    body,
                    empty(
                        "No exceptions",
                        "On the page of an anomaly, “Not again…” hides later ones of the same customer and for the same reason, until a day. Whatever is hidden is listed here.",
                    ),
                );
                return;
            }
            fill(
                body,
                h(
                    "ul",
                    { class: "exceptions" },
                    found.exceptions.map((it) => row(it, found.now)),
                ),
            );
        } catch (error) {
            if (error.status)
                fill(body, h("p", { class: "state" }, `The exceptions cannot be shown: ${error.message}.`));
        }
    };
    const row = (it, now) => {
        const until = Date.parse(it.until);
        const state = it.withdrawn ? "taken back" : until <= now ? "over" : "in force";
        const end = h("button", { type: "button", onclick: () => withdraw(it, end) }, "Take back");
        const hidden = new URLSearchParams({ state: "hidden", customer: it.customer_id });
        return h(
            "li",
            { class: `card exception ${state === "in force" ? "on" : "off"}` },
            h(
                "header",
                null,
                h(
                    "h2",
                    null,
                    about.words.customer ? `${about.words.customer} ` : "",
                    said(it.customer_id),
                    ": ",
                    it.features.map((name, index) => [index ? " or " : "", said(name)]),
                ),
                h("span", { class: "word" }, state),
                state === "in force" ? end : null,
            ),
            h("p", null, said(it.note || "no reason was given")),
            h(
                "p",
                { class: "muted" },
                `until ${date(until)} · written by `,
                said(it.by || "nobody who gave a name"),
                `, ${date(Date.parse(it.at))}`,
                it.preview
                    ? ` · would have hidden ${count(it.preview.anomalies)} in ${it.preview.days} days then, ${count(it.preview.confirmed)} confirmed`
                    : "",
            ),
            it.withdrawn
                ? h(
                      "p",
                      { class: "muted" },
                      "taken back by ",
                      said(it.withdrawn.by),
                      `, ${date(Date.parse(it.withdrawn.at))}`,
                  )
                : h(
                      "p",
                      null,
                      it.hides
                          ? h(
                                "a",
                                { href: `/anomalies?${hidden}` },
                                `hides ${plural(it.hides, about.words.entity, about.words.entities)} now`,
                            )
                          : "hides nothing now",
                  ),
        );
    };
    const withdraw = async (it, button) => {
        const by = myName();
        if (!by)
            return say(
                message,
                "Write your name first, on the page of any anomaly: the topic says who took an exception back.",
            );
        button.disabled = true;
        try {
            await send("exceptions/withdraw", { id: it.id, version: it.version, request: requestName(), by });
            say(message, "It is taken back.");
            await load();
        } catch (error) {
            say(message, `It is not taken back: ${error.message}.`);
            await load();
        }
    };
    load();
    return {
        tick(tick) {
            const changed = tick.window.labels_version !== shown || tick.window.anomalies_version !== entities;
            if (shown == null || !changed) return;
            entities = tick.window.anomalies_version;
            shown = tick.window.labels_version;
            load();
        },
        leave: () => stopped.abort(),
    };
}
