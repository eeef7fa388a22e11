// Builds elements. Whatever records hold becomes text nodes, never markup.

// Characters that would not be seen, or would reorder what stands beside them.
const HIDDEN =
    /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** A text with every hidden character shown. */
export function visible(text) {
    return String(text).replace(HIDDEN, (character) => {
        const code = character.codePointAt(0);
        if (code < 0x20) return String.fromCodePoint(0x2400 + code);
        if (code === 0x7f) return "\u2421";
        return `\u2039U+${code.toString(16).toUpperCase().padStart(4, "0")}\u203a`;
    });
}

/** An element: its attributes, listeners (on…) and children; what is null is left out. */
export function h(tag, attributes, ...children) {
    const element = document.createElement(tag);
    set(element, attributes ?? {});
    append(element, children);
    return element;
}

/** An element of a drawing. */
export function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value != null) element.setAttribute(name, value);
    }
    append(element, children);
    return element;
}

// Attributes that people see or hear.
const SHOWN = new Set(["title", "aria-label", "placeholder", "label"]);

function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
        if (value == null || value === false) continue;
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (name === "style") Object.entries(value).forEach(([key, of]) => element.style.setProperty(key, of));
        else if (name === "value") element.value = value;
        else element.setAttribute(name, value === true ? "" : SHOWN.has(name) ? visible(value) : value);
    }
}

function append(element, children) {
    for (const child of children.flat(Infinity)) {
        if (child == null || child === false) continue;
        element.append(child instanceof Node ? child : visible(child));
    }
}

/** Puts these children in place of what is there. */
export function fill(element, ...children) {
    const fragment = document.createDocumentFragment();
    append(fragment, children);
    element.replaceChildren(fragment);
    return element;
}

/** A text of a record: it keeps to itself whatever its direction. */
export function said(text, attributes) {
    return h("bdi", attributes, text);
}

/** Changes a text only where it differs, so that what a reader has selected stays. */
export function say(element, text) {
    const shown = visible(text);
    if (element.textContent !== shown) element.textContent = shown;
}
