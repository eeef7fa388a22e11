// Numbers over time, drawn by uPlot.

import { fill, h, say } from "./dom.js";
import { time } from "./format.js";

/** A colour of the style sheet as it is now: light or dark. */
function colour(name) {
    const probe = h("i", { style: { color: `var(--${name})`, display: "none" } });
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
}

/** The colour of the series with this number. */
export const seriesName = (index) => `series-${index % 5}`;

const faded = (rgb, alpha) =>
    rgb.replace(/^rgba?\(([^)]*)\)$/, (_, numbers) => `rgba(${numbers.split(",").slice(0, 3).join(",")}, ${alpha})`);

/**
 * A chart of lines, or of bars that stand on each other. `series` are names; `words` puts a value in words.
 * `show(times, columns)` draws it; times are seconds.
 */
export function chart({ title, series, isBars = false, words, step = 1 }) {
    const reading = h("span", { class: "chart-reading" });
    const legend =
        series.length > 1
            ? h(
                  "span",
                  { class: "legend" },
                  series.map((name, index) => h("span", null, h("i", { class: `swatch ${seriesName(index)}` }), name)),
              )
            : null;
    const plotted = h("div", { class: "plot" });
    const summary = h("p", { class: "hidden" });
    const tools = h("span", { class: "chart-tools" });
    const element = h(
        "section",
        { class: "card chart", "aria-label": title },
        h("header", null, h("h2", null, title), legend, reading, tools),
        plotted,
        summary,
    );
    let plot = null;
    let data = [[], ...series.map(() => [])];
    let raw = data;

    const say_ = (index) => {
        if (index == null || raw[0][index] == null) return say(reading, "");
        const parts = series.map((name, at) => `${series.length > 1 ? `${name} ` : ""}${words(raw[at + 1][index])}`);
        say(reading, `${time(raw[0][index] * 1000)}  ${parts.join(" · ")}`);
    };

    const build = () => {
        plot?.destroy();
        plot = null;
        const width = plotted.clientWidth;
        if (!width) return;
        const [muted, grid] = [colour("muted"), colour("grid")];
        const axis = {
            stroke: muted,
            grid: { stroke: grid, width: 1 },
            ticks: { show: false },
            font: "11px system-ui, sans-serif",
        };
        const drawn = (index) => {
            const of = colour(seriesName(index));
            return isBars
                ? {
                      fill: of,
                      stroke: of,
                      width: 0,
                      paths: uPlot.paths.bars({ size: [0.8, 24], align: 1 }),
                      points: { show: false },
                  }
                : {
                      stroke: of,
                      width: 1.5,
                      fill: index === 0 ? faded(of, 0.1) : undefined,
                      points: { show: false },
                      spanGaps: false,
                  };
        };
        // Of bars that stand on each other the tallest is drawn first.
        const order = isBars ? series.map((_, index) => series.length - 1 - index) : series.map((_, index) => index);
        plot = new uPlot(
            {
                width,
                height: 160,
                padding: [8, 6, 0, 0],
                legend: { show: false },
                cursor: { y: false, points: { show: !isBars, size: 6 }, drag: { x: false, y: false } },
                scales: {
                    // A bar is drawn from its time to the right: the last one needs room too.
                    x: { time: true, range: (_, low, high) => [low, isBars ? high + step : high] },
                    y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1) * 1.08] },
                },
                axes: [
                    {
                        ...axis,
                        size: 26,
                        space: 70,
                        values: (_, at, _axis, _space, step) => at.map((second) => clock(second, step)),
                    },
                    { ...axis, size: 46, space: 36, values: (_, at) => at.map((n) => (n % 1 ? "" : words(n))) },
                ],
                series: [{}, ...order.map(drawn)],
                hooks: { setCursor: [(it) => say_(it.cursor.idx)] },
            },
            arranged(data, order),
            plotted,
        );
    };

    const arranged = (columns, order) => [columns[0], ...order.map((index) => columns[index + 1])];
    const observer = new ResizeObserver(() => {
        if (plot && plotted.clientWidth) plot.setSize({ width: plotted.clientWidth, height: 160 });
        else build();
    });
    observer.observe(plotted);
    addEventListener("colours", build);

    return {
        element,
        tools,
        show(times, columns) {
            raw = [times, ...columns];
            data = isBars ? [times, ...stacked(columns)] : raw;
            const order = isBars
                ? series.map((_, index) => series.length - 1 - index)
                : series.map((_, index) => index);
            if (plot) plot.setData(arranged(data, order));
            else build();
            const last = times.length - 1;
            say(
                summary,
                last < 0
                    ? "no values yet"
                    : `now: ${series.map((name, at) => `${name} ${words(columns[at][last])}`).join(", ")}`,
            );
        },
        leave() {
            observer.disconnect();
            removeEventListener("colours", build);
            plot?.destroy();
            plot = null;
            fill(plotted);
        },
        step,
    };
}

/** The time of a mark on the axis; with seconds where marks are closer than a minute. */
function clock(second, step) {
    return step < 60 ? time(second * 1000) : time(second * 1000).slice(0, 5);
}

function stacked(columns) {
    const sums = [];
    let below = null;
    for (const column of columns) {
        below = column.map((value, index) => (value ?? 0) + (below ? below[index] : 0));
        sums.push(below);
    }
    return sums;
}
