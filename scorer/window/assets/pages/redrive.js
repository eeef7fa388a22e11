// Sends erroneous records to the input again: first it is seen how many that would be.

import { ask, send } from "../api.js";
import { fill, h, said, say } from "../dom.js";
import { count, date, plural } from "../format.js";
import { field, myName, rememberName } from "./review.js";

const LEFT_OUT = {
    sent_before: "sent before",
    truncated: "left out: the erroneous message holds only a part of the record",
    too_large: "left out: larger than the input takes",
    not_of_a_record: "left out: not about a single record",
};

/** Where the record of a dead letter was first; null where there is no single record to send. */
export function placeOf({ topic, partition, offset, item } = {}) {
    if (topic == null || partition == null || offset == null) return null;
    return [topic, partition, offset, item].filter((of) => of != null).join(":");
}

/** The card beside the reasons. It is empty where nothing can be sent from here. */
export function redrive(about, signal) {
    const outer = h("div");
    const wanted = { reason: "", record: null, isSearched: false };
    let seen = null;
    let looked = 0;
    let isSending = false;
    let isPossible = false;
    let wasRunning = false;
    const meant = h("p", { class: "meant" });
    const preview = h("div", { class: "preview", role: "status" });
    const message = h("p", { class: "said-message", role: "status" });
    const since = h("input", { type: "datetime-local", name: "since", onchange: () => look() });
    const name = h("input", {
        required: true,
        maxlength: "100",
        name: "sent_by",
        autocomplete: "name",
        oninput: (event) => rememberName(event.target.value.trim()),
    });
    const submit = h("button", { type: "submit", disabled: true }, "Send");
    const form = h(
        "form",
        { class: "words", onsubmit: (event) => (event.preventDefault(), sendAgain()) },
        h(
            "p",
            null,
            "Once a cause is mended, erroneous records can go to the topic ",
            said(about.topic),
            " again. Each is sent once.",
        ),
        meant,
        field("Published since (your time)", since),
        preview,
        field("Your name", name),
        h("div", { class: "actions" }, submit, message),
    );
    const details = h(
        "details",
        { class: "redrive", ontoggle: (event) => event.target.open && look() },
        h("summary", null, "Send again…"),
        form,
    );
    const asked = () => ({
        reason: wanted.record ? null : wanted.reason || null,
        record: wanted.record,
        since: since.value ? new Date(since.value).getTime() : null,
    });
    const showMeant = () =>
        fill(
            meant,
            wanted.record
                ? [
                      "The record ",
                      h("b", null, said(wanted.record)),
                      ". ",
                      h(
                          "button",
                          {
                              type: "button",
                              onclick: () => {
                                  wanted.record = null;
                                  showMeant();
                                  look();
                                  since.focus();
                              },
                          },
                          "All records instead",
                      ),
                  ]
                : [
                      wanted.reason
                          ? ["Records with the reason ", h("b", null, said(wanted.reason)), "."]
                          : "Records with any reason; choose one in the list above.",
                      wanted.isSearched ? " What you search for does not narrow this." : null,
                  ],
        );
    const look = async () => {
        if (!details.open) return;
        const turn = ++looked;
        seen = null;
        submit.disabled = true;
        name.value ||= myName();
        say(preview, "Looking…");
        let found;
        try {
            found = await ask("errors/redrive/preview", asked(), signal);
        } catch (error) {
            if (turn === looked && !signal.aborted) say(preview, `It cannot be seen what would be sent: ${error.message}.`);
            return;
        }
        // Whoever has changed their mind meanwhile sees what they want now.
        if (turn !== looked) return;
        seen = found;
        fill(preview, h("p", null, h("b", null, `${plural(found.counts.sent, "record")} would be sent.`)), others(found.counts));
        say(submit, found.counts.sent ? `Send ${plural(found.counts.sent, "record")}` : "Send");
        submit.disabled = !found.counts.sent || isSending;
    };
    const sendAgain = async () => {
        if (!seen || isSending) return;
        isSending = true;
        submit.disabled = true;
        say(message, "Sending…");
        try {
            const answer = await send("errors/redrive", { ...asked(), until: seen.until, by: name.value });
            say(message, answer.is_over ? told(answer.counts) : "It takes a while; this page says when it is done.");
        } catch (error) {
            say(message, error.status ? `Not sent: ${error.message}.` : "The scorer does not answer. What was sent is not sent twice: try again.");
        }
        isSending = false;
        await look();
        await watch();
    };
    // What somebody sends, here or in another window.
    const last = h("p", { class: "said-state", role: "status" });
    const watch = async () => {
        let shown;
        try {
            shown = await ask("errors/redrive", {}, signal);
        } catch {
            return;
        }
        if (shown.is_possible !== isPossible) {
            isPossible = shown.is_possible;
            if (isPossible) {
                showMeant();
                fill(outer, h("section", { class: "card", "aria-label": "Send again" }, details, last));
            } else fill(outer);
        }
        const { running, last: before } = shown;
        if (wasRunning && !running) look();
        wasRunning = Boolean(running);
        if (running) fill(last, said(running.by), ` sends records again since ${date(running.began)}…`);
        else if (before?.error) fill(last, "The last time, by ", said(before.by), `, ${date(before.ended)}: ${before.error}.`);
        else if (before) fill(last, "The last time, by ", said(before.by), `, ${date(before.ended)}: ${told(before.counts)}`);
    };
    return {
        element: outer,
        /** Settled once it is known whether anything can be sent from here. */
        isKnown: watch(),
        /** What the page shows now: of these, and not of those that are searched for. */
        show(reason, text) {
            const isSearched = Boolean(text);
            // What comes meanwhile is no reason to look through the topics again.
            if (reason === wanted.reason && isSearched === wanted.isSearched) return;
            const hasChanged = reason !== wanted.reason;
            Object.assign(wanted, { reason, isSearched });
            showMeant();
            if (hasChanged && !wanted.record) look();
        },
        /** Asks about one record. */
        one(record) {
            wanted.record = record;
            showMeant();
            // It looks by itself when it is opened.
            if (details.open) look();
            else details.open = true;
            details.scrollIntoView({ block: "nearest" });
            name.focus();
        },
        get isPossible() {
            return isPossible;
        },
        tick() {
            if (wasRunning || details.open) watch();
        },
    };
}

/** What was sent, in a sentence. */
function told(counts) {
    const rest = Object.entries(LEFT_OUT).filter(([name]) => counts[name]);
    return `${[`${count(counts.sent)} sent`, ...rest.map(([name, words]) => `${count(counts[name])} ${words}`)].join("; ")}.`;
}

function others(counts) {
    const rest = Object.entries(LEFT_OUT).filter(([name]) => counts[name]);
    return rest.length
        ? h(
              "ul",
              null,
              rest.map(([name, words]) => h("li", null, `${count(counts[name])} ${words}`)),
          )
        : null;
}
