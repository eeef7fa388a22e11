// What an analyst says of an anomaly, and what is not to be seen again.

import { ask, latest, requestName, send } from "../api.js";
import { fill, h, said, say } from "../dom.js";
import { count, date, plural } from "../format.js";
import { choice, linkTo, severity, WORDS } from "../parts.js";

const DAY_MS = 86400000;
const REASONS = ["fraud", "wrong data", "usual for this customer", "a test", "known change"];

/** Who looks, as they have said once in this browser; else the name that they have logged in by. */
export const myName = () => localStorage.getItem("name") ?? latest.status?.login ?? "";
export const rememberName = (name) => (name ? localStorage.setItem("name", name) : localStorage.removeItem("name"));

/** A label in one sentence. */
export function told(label) {
    const word = label.label ? WORDS[label.label] : label.owner ? "in review" : "nothing said";
    const by = label.by ? ` by ${label.by}` : "";
    return `${word}${by}, ${date(Date.parse(label.at))}`;
}

/** Says of an anomaly what it is; what was there of reason, note and owner stays. */
export function quickly(anomaly, word) {
    const { label } = anomaly;
    return send("label", {
        id: anomaly.id,
        version: label?.version ?? null,
        request: requestName(),
        label: word,
        reason: label?.reason ?? "",
        note: label?.note ?? "",
        owner: label?.owner ?? "",
        by: myName(),
    });
}

/** A field with its name. */
export function field(name, input, hint) {
    return h("label", { class: "field" }, h("span", null, name), input, hint ? h("small", null, hint) : null);
}

/** The card on the page of an anomaly. `update` shows what others say, unless somebody writes. */
export function review(first, about, kept) {
    let anomaly = first;
    let draft = {};
    let pending = null;
    let isSaving = false;
    const message = h("p", { class: "said-message", role: "status" });
    const newest = h("div");
    const form = h("form", { class: "words", onsubmit: (event) => (event.preventDefault(), save()) });
    const outer = h(
        "section",
        { class: "card review", "aria-label": "Your word" },
        h("header", null, h("h2", null, "Your word"), h("span", { class: "muted" }, where(kept))),
        form,
    );
    const saved = () => anomaly.label ?? {};
    const empty = (name) => (name === "label" ? null : "");
    const known = (name) => saved()[name] ?? empty(name);
    const now = (name) => (name in draft ? draft[name] : known(name));
    const changed = () => Object.entries(draft).filter(([name, of]) => of !== known(name));
    const isDirty = () => changed().length > 0;

    const text = (name, tag, attributes) =>
        h(tag, {
            name,
            value: now(name),
            oninput: (event) => {
                draft[name] = event.target.value;
                showState();
            },
            ...attributes,
        });
    const submit = h("button", { type: "submit" }, "Save");
    const choices = h("div");
    const state = h("p", { class: "said-state muted" });
    const showChoices = () =>
        fill(
            choices,
            choice("What it is", Object.entries(WORDS), now("label"), (word) => {
                draft.label = now("label") === word ? null : word;
                showChoices();
                showState();
                choices.querySelector(`button[data-name="${word}"]`)?.focus();
            }),
        );
    const showState = () => {
        // It is not disabled where nothing has changed: it would lose the focus.
        submit.classList.toggle("primary", isDirty());
        say(state, saved().at ? `Now: ${told(saved())}` : "Nobody has said anything yet.");
    };
    const show = () => {
        // Who types goes on typing.
        const focused = form.contains(document.activeElement) ? document.activeElement : null;
        const [name, place] = [focused?.name, focused?.selectionStart];
        fill(
            form,
            choices,
            state,
            newest,
            field("Reason", text("reason", "input", { maxlength: "200", list: "reasons", autocomplete: "off" })),
            h(
                "datalist",
                { id: "reasons" },
                REASONS.map((reason) => h("option", { value: reason })),
            ),
            field("Note", text("note", "textarea", { maxlength: "4000", rows: "3" })),
            h(
                "div",
                { class: "pair" },
                field("Owner", text("owner", "input", { maxlength: "100", autocomplete: "off" })),
                field(
                    "Your name",
                    h("input", {
                        name: "by",
                        value: myName(),
                        maxlength: "100",
                        autocomplete: "name",
                        oninput: (event) => rememberName(event.target.value.trim()),
                    }),
                ),
            ),
            h(
                "div",
                { class: "actions" },
                submit,
                h(
                    "button",
                    {
                        type: "button",
                        onclick: () => {
                            draft.owner = myName();
                            if (!draft.owner) return say(message, "Write your name first.");
                            save();
                        },
                    },
                    "Take it",
                ),
                message,
            ),
        );
        showChoices();
        showState();
        const again = name ? form.elements.namedItem(name) : focused;
        again?.focus();
        if (place != null) again?.setSelectionRange?.(place, place);
    };
    const save = async () => {
        if (isSaving) return;
        if (!isDirty()) return say(message, "Nothing has changed.");
        const body = {
            id: anomaly.id,
            version: saved().version ?? null,
            label: now("label"),
            reason: now("reason"),
            note: now("note"),
            owner: now("owner"),
            by: myName(),
        };
        // What may be kept already has the same name when it is sent again.
        const same = JSON.stringify(body);
        if (pending?.same !== same) pending = { same, request: requestName() };
        isSaving = true;
        showState();
        say(message, "Saving…");
        try {
            const { label } = await send("label", { ...body, request: pending.request });
            pending = null;
            draft = {};
            anomaly = { ...anomaly, label };
            fill(newest);
            say(message, "Saved.");
            show();
        } catch (error) {
            if (error.status === 409) {
                pending = null;
                conflict(error.body.label);
                say(message, "Not saved.");
            } else
                say(
                    message,
                    error.status ? `Not saved: ${error.message}.` : "Not saved: the scorer does not answer. Try again.",
                );
        } finally {
            isSaving = false;
            showState();
        }
    };
    // The newer word is shown, and what this analyst has changed stays: whoever saves now has seen both.
    const conflict = (label) => {
        draft = Object.fromEntries(changed());
        anomaly = { ...anomaly, label };
        show();
        fill(
            newest,
            h(
                "div",
                { class: "conflict", role: "alert" },
                h(
                    "p",
                    null,
                    h("b", null, "Somebody was faster: "),
                    label ? said(told(label)) : "the word was taken back",
                ),
                label?.reason ? h("p", null, "Reason: ", said(label.reason)) : null,
                label?.note ? h("p", null, "Note: ", said(label.note)) : null,
                h("p", null, "What you have changed is still here. Save puts it in place of theirs."),
                h(
                    "button",
                    {
                        type: "button",
                        onclick: () => {
                            draft = {};
                            fill(newest);
                            show();
                        },
                    },
                    "Leave theirs",
                ),
            ),
        );
    };
    show();
    const except = exception(first, about);
    if (except) outer.append(except);
    if (kept.in === "nowhere") {
        form.querySelectorAll("input, textarea, button").forEach((it) => (it.disabled = true));
    }
    return {
        element: outer,
        say: (word) => {
            draft.label = word;
            save();
        },
        update(to) {
            if ((to.label?.version ?? null) === (anomaly.label?.version ?? null)) return;
            if (isSaving) return;
            if (isDirty()) return conflict(to.label);
            anomaly = to;
            draft = {};
            fill(newest);
            say(message, "");
            show();
        },
    };
}

function where(kept) {
    if (kept.in === "topic") return h("span", null, "kept in topic ", said(kept.topic));
    if (kept.in === "memory") return "kept until this demo ends";
    return h("span", null, "not kept: ", said(kept.why));
}

/** Not again for this customer and this reason. */
function exception(anomaly, about) {
    const reasons = [...new Set(anomaly.opinions.filter((it) => it.anomalous).map((it) => it.feature))];
    if (!anomaly.customer || !reasons.length || reasons.includes(null)) return null;
    const request = requestName();
    const preview = h("div", { class: "preview", role: "status" }, "Looking…");
    const message = h("p", { class: "said-message", role: "status" });
    const day = (days) => new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10);
    const until = h("input", {
        type: "date",
        required: true,
        value: day(30),
        min: day(1),
        max: day(365),
        name: "until",
    });
    const why = h("textarea", { required: true, rows: "2", maxlength: "4000", name: "why" });
    const name = h("input", {
        required: true,
        maxlength: "100",
        name: "excepted_by",
        autocomplete: "name",
        oninput: (event) => rememberName(event.target.value.trim()),
    });
    const knows = h("input", { type: "checkbox", name: "knows" });
    const consent = h(
        "label",
        { class: "consent", hidden: true },
        knows,
        " I have looked at them; hide such ones all the same",
    );
    const submit = h("button", { type: "submit", disabled: true }, "Save the exception");
    const look = async () => {
        submit.disabled = true;
        name.value = myName();
        fill(preview, "Looking…");
        try {
            const found = await ask("exceptions/preview", { id: anomaly.id });
            consent.hidden = !found.confirmed;
            knows.required = found.confirmed > 0;
            fill(preview, seen(found, about));
            submit.disabled = false;
        } catch (error) {
            fill(preview, `It cannot be seen what this would hide: ${error.message}.`);
        }
    };
    const save = async (event) => {
        event.preventDefault();
        submit.disabled = true;
        try {
            await send("exceptions", {
                id: anomaly.id,
                until: `${until.value}T00:00:00Z`,
                request,
                note: why.value,
                by: name.value,
            });
            fill(message, "Saved. See all ", h("a", { href: "/exceptions" }, "exceptions"), ".");
        } catch (error) {
            submit.disabled = false;
            say(
                message,
                error.status ? `Not saved: ${error.message}.` : "Not saved: the scorer does not answer. Try again.",
            );
        }
    };
    return h(
        "details",
        { class: "except", ontoggle: (event) => event.target.open && look() },
        h("summary", null, "Not again…"),
        h(
            "form",
            { class: "words", onsubmit: save },
            h(
                "p",
                null,
                "Hides anomalies of ",
                about.words.customer ? `${about.words.customer} ` : "",
                h("b", null, said(anomaly.customer)),
                " that every detector flags for ",
                reasons.map((it, index) => [index ? " or " : "", h("b", null, said(it))]),
                ", until a day. What is confirmed as an anomaly stays.",
            ),
            preview,
            consent,
            h("div", { class: "pair" }, field("Until", until, "00:00 UTC"), field("Your name", name)),
            field("Why", why),
            h("div", { class: "actions" }, submit, message),
        ),
    );
}

/** What an exception would have hidden. */
function seen({ days, anomalies, confirmed, oldest, named }, about) {
    const since = Date.now() - days * DAY_MS;
    const isShort = oldest != null && oldest > since;
    return [
        h(
            "p",
            null,
            h(
                "b",
                null,
                `In the last ${days} days it would have hidden ${plural(anomalies, about.words.entity, about.words.entities)}`,
            ),
            confirmed
                ? h(
                      "b",
                      { class: "alarming" },
                      `, of which ${count(confirmed)} ${confirmed === 1 ? "is a confirmed anomaly" : "are confirmed anomalies"}.`,
                  )
                : ", none of which is a confirmed anomaly.",
            isShort ? h("span", { class: "muted" }, ` This window goes back to ${date(oldest)}.`) : null,
        ),
        h(
            "ul",
            { class: "named" },
            named.map((it) =>
                h(
                    "li",
                    null,
                    h("a", { href: linkTo(it) }, said(it.key)),
                    " ",
                    severity(it.severity),
                    it.label ? h("span", { class: `word ${it.label}` }, WORDS[it.label]) : null,
                ),
            ),
            anomalies > named.length
                ? h("li", { class: "muted" }, `and ${count(anomalies - named.length)} more`)
                : null,
        ),
    ];
}
