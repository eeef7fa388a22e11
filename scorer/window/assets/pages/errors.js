// Errors: records that broke a rule, by reason, and what they hold; they can be sent again from here.

import { ask } from "../api.js";
import { fill, h, said, say } from "../dom.js";
import { count } from "../format.js";
import { bars, empty, when } from "../parts.js";
import { placeOf, redrive } from "./redrive.js";

export const title = "Errors";

const PAGE = 50;
const KINDS = { line: "record", entity: "entity", lost: "lost records", undeliverable: "undeliverable message" };

export function open(root, parameters, { status }) {
    const { about } = status;
    const stopped = new AbortController();
    let reason = parameters.get("reason") ?? "";
    let text = parameters.get("q") ?? "";
    let shown = PAGE;
    let version = null;
    let isOpen = false;
    const summary = h("p", { class: "summary", "aria-live": "polite" });
    const reasons = h("div");
    const list = h("div", { class: "list" }, h("p", { class: "state" }, "Loading…"));
    const again = redrive(about, stopped.signal);
    const search = h("input", {
        type: "search",
        placeholder: "Search in the records  ( / )",
        "aria-label": "Search",
        value: text,
        maxlength: "200",
    });
    let typing = null;
    search.addEventListener("input", () => {
        clearTimeout(typing);
        typing = setTimeout(() => change({ q: search.value, reason }), 200);
    });
    const change = (to) => {
        [reason, text, shown] = [to.reason, to.q, PAGE];
        const query = new URLSearchParams(Object.entries({ reason, q: text }).filter(([, of]) => of));
        history.replaceState(null, "", query.size ? `/errors?${query}` : "/errors");
        load();
    };
    fill(
        root,
        h("div", { class: "title" }, h("h1", null, "Errors"), summary),
        h(
            "div",
            { class: "columns errors" },
            h(
                "div",
                { class: "stack" },
                h("section", { class: "card" }, h("header", null, h("h2", null, "Reasons")), reasons),
                again.element,
            ),
            h("div", null, h("div", { class: "toolbar" }, search), list),
        ),
    );

    const load = async () => {
        let found;
        try {
            found = await ask("errors", { reason, q: text, limit: shown }, stopped.signal);
        } catch (error) {
            if (error.status) fill(list, h("p", { class: "state" }, `The list cannot be shown: ${error.message}.`));
            return;
        }
        version = found.version;
        again.show(reason, text);
        const isFiltered = reason || text;
        say(
            summary,
            isFiltered
                ? `${count(found.matching)} of ${count(found.kept)} kept here`
                : `the newest ${count(found.kept)}`,
        );
        const byReason = Object.entries(found.by_reason).sort((a, b) => b[1] - a[1]);
        fill(
            reasons,
            byReason.length
                ? bars(byReason, {
                      picked: reason,
                      onpick: (name) => change({ reason: name === reason ? "" : name, q: text }),
                  })
                : h("p", { class: "state" }, "None."),
        );
        fill(
            list,
            found.errors.length
                ? [
                      h("ol", { class: "letters" }, found.errors.map(letter)),
                      found.matching > found.errors.length
                          ? h(
                                "button",
                                {
                                    type: "button",
                                    onclick: () => {
                                        shown += PAGE;
                                        load();
                                    },
                                },
                                "Show more",
                            )
                          : null,
                  ]
                : isFiltered
                  ? empty("Nothing matches", "No erroneous record that is kept here fits.")
                  : empty(
                        "No erroneous records",
                        `A record of ${about.topic} that breaks a rule is listed here with every reason, and published whole to ${about.erroneous_topic}.`,
                        "Once a cause is mended, such records can be sent to the input again: from here, or by `scorer redrive`.",
                    ),
        );
    };
    const letter = (it) =>
        h(
            "li",
            { class: "letter" },
            h(
                "header",
                null,
                when(it.at),
                h("span", { class: "kind" }, KINDS[it.kind] ?? it.kind),
                it.key ? said(it.key) : null,
                h(
                    "span",
                    { class: "reasons" },
                    it.reasons.map((name) => h("code", null, name)),
                ),
            ),
            it.cause ? h("p", null, said(it.cause)) : null,
            it.content
                ? h(
                      "pre",
                      { class: "raw", tabindex: "0" },
                      said(it.content),
                      it.is_cut ? h("span", { class: "muted" }, " … cut; the topic has all of it") : null,
                  )
                : null,
            it.source ? h("p", { class: "muted" }, where(it.source)) : null,
            again.isPossible && placeOf(it.source ?? {})
                ? h(
                      "p",
                      null,
                      h(
                          "button",
                          {
                              type: "button",
                              "aria-label": `Send the record ${placeOf(it.source)} again`,
                              onclick: () => again.one(placeOf(it.source)),
                          },
                          "Send again…",
                      ),
                  )
                : null,
        );

    again.isKnown.then(load);
    return {
        tick(tick) {
            isOpen = scrollY > 60;
            if (tick.window.errors_version !== version && version != null && !isOpen) load();
            again.tick();
        },
        key(key) {
            if (key !== "/") return false;
            search.focus();
            search.select();
            return true;
        },
        leave() {
            stopped.abort();
            clearTimeout(typing);
        },
    };
}

function where(source) {
    const offsets =
        source.offset ?? source.offsets?.map(([from, to]) => (from === to ? from : `${from} – ${to}`)).join(", ");
    return [
        said(source.topic ?? source.file ?? ""),
        source.partition != null ? `, partition ${source.partition}` : "",
        offsets != null ? `, offset ${offsets}` : "",
    ];
}
