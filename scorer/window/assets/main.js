// Which page is in front, and what stands above it.

import { ask, latest, listen } from "./api.js";
import { fill, h, say } from "./dom.js";
import { date } from "./format.js";
import { listenToKeys, toggleHelp } from "./keys.js";
import * as alerts from "./pages/alerts.js";
import * as anomalies from "./pages/anomalies.js";
import * as anomaly from "./pages/anomaly.js";
import * as entities from "./pages/entities.js";
import * as exceptions from "./pages/exceptions.js";
import * as errors from "./pages/errors.js";
import * as models from "./pages/models.js";
import * as now from "./pages/now.js";

const PAGES = {
    "/": now,
    "/anomalies": anomalies,
    "/anomaly": anomaly,
    "/alerts": alerts,
    "/entities": entities,
    "/exceptions": exceptions,
    "/errors": errors,
    "/models": models,
};
const LINKS = [
    ["/", "Now"],
    ["/anomalies", "Anomalies"],
    ["/alerts", "Alerts"],
    ["/entities", "Entities"],
    ["/exceptions", "Exceptions"],
    ["/errors", "Errors"],
    ["/models", "Models"],
];
const THEMES = [
    ["", "◐", "as the system"],
    ["light", "○", "light"],
    ["dark", "●", "dark"],
];

const main = document.getElementById("main");
let page = null;

/** Leads to a page of this window. */
export function go(address, { replace = false } = {}) {
    history[replace ? "replaceState" : "pushState"](null, "", address);
    show();
}

async function show() {
    const { pathname, searchParams } = new URL(location.href);
    const of = PAGES[pathname] ?? now;
    page?.leave?.();
    page = null;
    for (const link of document.querySelectorAll("#nav a")) {
        const isHere = link.pathname === pathname || (pathname === "/anomaly" && link.pathname === "/anomalies");
        if (isHere) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
    }
    document.title = `${of.title} · Atalaya`;
    try {
        latest.status ??= await ask("status");
    } catch (error) {
        return fill(
            main,
            h("p", { class: "state" }, `The scorer cannot be asked: ${error.message}. The page tries again.`),
        );
    }
    showPipeline();
    page = of.open(main, searchParams, { go, status: latest.status });
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
    if (latest.tick) page.tick?.(latest.tick);
}

function showPipeline() {
    const { about } = latest.status;
    const element = document.getElementById("pipeline");
    say(element, about.pipeline);
    element.title = `topic ${about.topic}, group ${about.group}`;
}

function onTick(tick) {
    const anomalies = document.querySelector('#nav a[href="/anomalies"] .badge');
    if (anomalies) say(anomalies, tick.window.entities > 999 ? "999+" : tick.window.entities || "");
    if (page) page.tick?.(tick);
    else if (!latest.status) show();
}

function onState(state, since) {
    const element = document.getElementById("connection");
    const banner = document.getElementById("banner");
    element.className = `connection ${state}`;
    say(element, state === "live" ? "live" : "no connection");
    document.body.classList.toggle("stale", state !== "live");
    banner.hidden = state === "live";
    if (state === "live") {
        // What was missed meanwhile, and another scorer may have taken its place.
        if (banner.dataset.wasLost) {
            delete banner.dataset.wasLost;
            latest.status = null;
            show();
        }
        return;
    }
    banner.dataset.wasLost = "yes";
    say(banner, `The scorer does not answer. What you see is from ${date(since)}; the page tries again by itself.`);
}

function showTheme(index) {
    const [name, sign, words] = THEMES[index];
    const button = document.getElementById("theme");
    button.textContent = sign;
    button.setAttribute("aria-label", `Colours: ${words}`);
    button.title = `Colours: ${words}`;
    if (name) document.documentElement.dataset.theme = name;
    else delete document.documentElement.dataset.theme;
    if (name) localStorage.setItem("theme", name);
    else localStorage.removeItem("theme");
    dispatchEvent(new Event("colours"));
}

function start() {
    const badge = (path) => (path === "/anomalies" ? h("span", { class: "badge", "aria-hidden": "true" }) : null);
    fill(
        document.getElementById("nav"),
        LINKS.map(([path, name]) => h("a", { href: path }, name, badge(path))),
    );
    let theme = Math.max(
        0,
        THEMES.findIndex(([name]) => name === (document.documentElement.dataset.theme ?? "")),
    );
    showTheme(theme);
    document.getElementById("theme").addEventListener("click", () => showTheme((theme = (theme + 1) % THEMES.length)));
    document.getElementById("help").addEventListener("click", toggleHelp);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("colours")));
    document.addEventListener("click", (event) => {
        const link = event.target.closest("a");
        const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
        if (!link || !isPlain || link.origin !== location.origin || !(link.pathname in PAGES) || link.hash) return;
        event.preventDefault();
        go(link.pathname + link.search);
    });
    addEventListener("popstate", show);
    listenToKeys(() => page, go);
    listen(onTick, onState);
    show();
}

start();
