"""The results of bench/run for people: lines, a table, a picture."""

import html
import math

from rows import BESIDE, GOALS, limits


def duration(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}" if nanoseconds < 1000 * size else f"{nanoseconds / size:.0f} {unit}"
    return f"{nanoseconds:.3g} ns"


def line(result, peers):
    if "error" in result:
        return f"{result['name']:20} failed   {result['error']}"
    text = (f"{result['name']:20} {duration(result['native_ns']):>10} {duration(result['guest_ns']):>10} "
            f"{result['ratio']:>8.2f} {doubt(result):>6} {goal(result):>5}"
            f"{'  above' if result['ratio'] > most(result['name']) and 'beside' not in result else ''}")
    if "beside" in result:
        text += f"   {result['beside']} {result['beside_ratio']:.2f}" + verdict(result)
    return text + "".join(f" {ratio(result, peer):>11}" for peer in peers)


def verdict(result):
    """What the limits of a row about files say."""
    warm, cold = result["ratio"], result["beside_ratio"]
    if result["beside"] == "warm":
        warm, cold = cold, warm
    both = limits(result["name"])
    missed = [name for name, value, limit in (("warm", warm, both[0]), ("cold", cold, both[1])) if value > limit]
    return f"   limits {both[0]:.2f}, cold {both[1]:.2f}: " + (f"{' and '.join(missed)} above" if missed else "ok")


def doubt(result):
    return f"±{result['doubt']:.2f}" if result["doubt"] < 10 else ""


def most(name):
    """What the row's ratio is to be at most. Whole programs of rows about files run cold."""
    return limits(name)[1] if BESIDE.get(name, "").endswith("warm") else GOALS.get(name, math.inf)


def goal(result):
    return f"{most(result['name']):.2f}" if result["name"] in GOALS else ""


def heading(peers):
    return f"{'row':20} {'native':>10} {'guest':>10} {'ratio':>8} {'':>6} {'goal':>5}" + "".join(f" {peer:>11}" for peer in peers)


def ratio(result, peer):
    found = result["peers"].get(peer, {})
    return f"{found['ratio']:.2f}" if "ratio" in found else "failed" if found else "-"


def markdown(results, peers, absent):
    """`absent` is what keeps peers from running, by name."""
    columns = ["row", "native", "guest", "guest/native", "±", "goal", *peers]
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for result in results:
        name = result["name"].replace("|", "\\|")
        if "error" in result:
            lines.append(f"| {name} | | | failed: {result['error']} | | |" + " |" * len(peers))
            continue
        cells = [name, duration(result["native_ns"]), duration(result["guest_ns"]), f"{result['ratio']:.2f}", doubt(result).lstrip("±"), goal(result)]
        lines.append("| " + " | ".join(cells + [ratio(result, peer) for peer in peers]) + " |")
    for peer, reason in absent.items():
        lines += ["", f"{peer} could not run: {reason}."]
    failures = {}
    for result in results:
        for peer, found in result["peers"].items():
            if "error" in found:
                failures.setdefault((peer, found["error"]), []).append(result["name"])
    for (peer, reason), rows in failures.items():
        lines += ["", f"{peer} failed in {', '.join(rows)}: {reason}."]
    return "\n".join(lines) + "\n"


# --- the picture ------------------------------------------------------------------------------------------------

COLOURS = {"teacup": "#0b7285", "teacup trap": "#66a5ad", "bubblewrap": "#adb5bd", "proot": "#e8590c", "gVisor": "#7048e8",
           "podman": "#868e96"}
LABELS, WIDTH, BAR, GAP = 170, 640, 9, 8  # in pixels


def svg(results, peers):
    """Bars of the times over native, on a logarithmic scale around 1: to the left is faster than the host."""
    rows = [result for result in results if "error" not in result]
    bars = [(result["name"], [("teacup", result["ratio"])] + [(peer, result["peers"][peer]["ratio"]) for peer in peers
                                                             if "ratio" in result["peers"].get(peer, {})]) for result in rows]
    ratios = [value for _, values in bars for _, value in values] or [1]
    low, high = min(math.floor(math.log10(min(ratios))), -1), max(math.ceil(math.log10(max(ratios))), 1)

    def x(value):
        return LABELS + (math.log10(value) - low) / (high - low) * WIDTH

    out, y = [], 44
    for name, values in bars:
        middle = y + len(values) * BAR / 2 + 4
        out.append(f'<text x="{LABELS - 8}" y="{middle:.0f}" text-anchor="end">{html.escape(name)}</text>')
        for side, value in values:
            left, right = sorted((x(value), x(1)))
            out.append(f'<rect x="{left:.1f}" y="{y}" width="{max(right - left, 1):.1f}" height="{BAR - 1}" fill="{COLOURS[side]}">'
                       f"<title>{html.escape(name)}, {side}: {value:.2f}</title></rect>")
            y += BAR
        y += GAP
    grid = []
    for power in range(low, high + 1):
        at = x(10.0 ** power)
        grid.append(f'<line x1="{at:.1f}" y1="36" x2="{at:.1f}" y2="{y}" stroke="{"#212529" if power == 0 else "#dee2e6"}"/>')
        grid.append(f'<text x="{at:.1f}" y="30" text-anchor="middle">{10.0 ** power:g}</text>')
    legend, at = [], LABELS
    for side in ["teacup", *peers]:
        legend.append(f'<rect x="{at}" y="6" width="10" height="10" fill="{COLOURS[side]}"/>'
                      f'<text x="{at + 14}" y="15">{side}</text>')
        at += 34 + 7 * len(side)
    title = "Time over native; left of 1 is faster than the bare host"
    body = "\n".join([f"<title>{title}</title>", '<rect width="100%" height="100%" fill="#fff"/>', *grid, *legend, *out])
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + WIDTH + 30}" height="{y + 10}" font-family="sans-serif" '
            f'font-size="11">\n{body}\n</svg>\n')
