"""The results of a run as a text."""

from typing import Any


def render(found: dict[str, Any]) -> str:
    """All that is known so far."""
    tests, sizes = suite(found["suite"]), kmeans(found["kmeans"])
    sections = [head(found), devices(found["survey"]), tests, sizes, parts(found["parts"])]
    return "\n\n".join(section for section in sections if section)


def head(found: dict[str, Any]) -> str:
    machine = found["machine"]
    lines = [
        f"atalaya {found['commit'] or '(commit unknown)'}, {found['started']}",
        f"{machine['processor']}, {machine['threads']} threads; {machine['nvidia'] or 'no NVIDIA driver'}",
    ]
    return "\n".join(lines + [f"Vulkan: {note}" for note in found["vulkan"]["notes"]])


def devices(survey: dict[str, Any] | None) -> str:
    if survey is None:
        return ""
    lines = [f"{'device':<10}{'kind':<12}{'name':<32}{'driver':<26}{'points/s':>10}{'copy GB/s':>10}"]
    for device in survey["devices"]:
        measured = device["measured"]
        rates = "".join(f"{'-':>10}" for _ in range(2))
        if measured:
            rates = f"{measured['points_per_second']:>10.2e}{measured['copied_bytes_per_second'] / 1e9:>10.1f}"
        driver = (device["driver"] or "-")[:25]
        lines.append(f"{device['device']:<10}{device['class']:<12}{device['name'][:31]:<32}{driver:<26}{rates}")
        if device["problem"]:
            lines.append(f"          {device['problem']}")
    if survey["why_no_gpu"]:
        lines.append(f"no GPU is seen: {survey['why_no_gpu']}")
    return "\n".join(lines)


def suite(results: list[dict[str, Any]]) -> str:
    lines = [f"{'tests of':<14}{'device':<10}{'passed':>8}{'failed':>8}  ended"] if results else []
    for result in results:
        counts = f"{result['passed']:>8}{len(result['failed']):>8}"
        lines.append(f"{result['name']:<14}{result['device']:<10}{counts}  {result['outcome']}")
        lines += [f"    failed: {name}" for name in result["failed"]]
    return "\n".join(lines)


def kmeans(sizes: list[dict[str, Any]]) -> str:
    if not sizes:
        return ""
    lines = ["k-means, ms an iteration: whole calls of 20 with labels, median of 5; `floor` is one read of the points"]
    numbers = f"{'ms':>10}{'floor':>9}{'of floor':>10}{'/ first':>9}{'first call':>12}{'inertia':>14}"
    lines.append(f"{'n x d x k':<18}{'contender':<18}{numbers}")
    for size in sizes:
        lines += of_size(size)
    return "\n".join(lines)


def of_size(size: dict[str, Any]) -> list[str]:
    name, floor = " x ".join(short(int(number)) for number in size["size"].split("x")), size["floor_ms"]
    lines, first = [], None
    for result in size["results"]:
        label = f"{name:<18}{result['name'][:17]:<18}"
        name = ""
        if "failed" in result:
            lines.append(f"{label}failed: {result['failed']}")
            continue
        ms = result["ms_an_iteration"]
        first = first or ms
        bound = f"{floor:>9.3f}{floor / ms:>10.0%}" if floor else f"{'-':>9}{'-':>10}"
        call, inertia = f"{result['first_call_seconds']:>10.2f} s", f"{result['inertia']:>14.8g}"
        lines.append(f"{label}{ms:>10.3f}{bound}{ms / first:>9.2f}{call}{inertia}")
    if size["outcome"] != "done":
        lines.append(f"{name:<18}{size['outcome']}")
    return lines


def parts(parts: list[dict[str, Any]]) -> str:
    total = sum(part["seconds"] for part in parts)
    odd = [f"{part['name']}: {part['outcome']}" for part in parts if part["outcome"].startswith("left out")]
    return "\n".join([f"{len(parts)} parts, {total:.0f} s", *odd])


def short(number: int) -> str:
    """1000000 as 1M."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{letter}"
    return str(number)
