"""What scripts/conformance found, and the tables of docs that are made of it.

results.json, beside this file, holds what each run gave when it was last written: {suite: {run: result}}, a result being
{"seen": its day, "kernel": Linux's version natively, if somebody noted it, "native", "guest": cases that were ok, or the outcome of a stressor,
"bad": the cases that are not ok natively either (or how many), "calls": [those rewritten, those served by the net], if they were counted,
"differences": [[case, native, teacup, reason]]}. A run that is not repeated keeps what it has, so the tables are made from
the whole file each time. The suites `python` and `stress` share one block of docs/compatibility.md; others have their own.
"""

import fnmatch
import json
import os

import languages

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
END = "<!-- end -->"


def reasons():
    """[(pattern, reason)] of tests/conformance/reasons."""
    out = []
    with open(os.path.join(HERE, "reasons")) as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                pattern, _, reason = line.partition("  ")
                out.append((pattern, reason.strip()))
    return out


def reason_for(name, known):
    return next((reason for pattern, reason in known if fnmatch.fnmatch(name, pattern)), None)


def load(path=os.path.join(HERE, "results.json")):
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def save(results, path=os.path.join(HERE, "results.json")):
    """One line for each run, so that a change shows what changed."""
    suites = []
    for suite, runs in results.items():
        lines = [f"    {json.dumps(run)}: {json.dumps({key: value for key, value in result.items() if value not in (None, '')})}"
                 for run, result in runs.items()]
        suites.append(f"  {json.dumps(suite)}: {{\n" + ",\n".join(lines) + "\n  }")
    with open(path, "w") as f:
        f.write("{\n" + ",\n".join(suites) + "\n}\n")


# ---- tables ----

def when(result):
    return ", ".join(part for part in (result["seen"], f"Linux {result['kernel']}" if result.get("kernel") else "") if part)


def span(results):
    """When some runs were seen, from the first to the last."""
    days = sorted({when(r) for r in results})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def differences_table(results, known):
    """The lines for all differences of some results; none if there are none."""
    lines = [f"| {case} | {native} | {guest} | {reason_for(case, known) or reason or 'not explained yet'} |"
             for result in results for case, native, guest, reason in result["differences"]]
    return ["| case | native | teacup | reason |", "| --- | --- | --- | --- |", *lines] if lines else []


def python_lines(modules):
    lines = ["Python's regression tests (Debian's python 3.11), case by case:", "",
             "| module | ok natively | ok in teacup | differences | seen |", "| --- | ---: | ---: | ---: | --- |"]
    return lines + [f"| {name} | {r['native']} | {r['guest']} | {len(r['differences'])} | {when(r)} |" for name, r in modules.items()]


def stress_lines(stressors):
    if not stressors:
        return []
    good = [n for n, r in stressors.items() if r["native"] == r["guest"] == "ok"]
    skipped = [n for n, r in stressors.items() if r["native"] == "skipped"]
    other = [f"{n} ({r['native']})" for n, r in stressors.items() if r["native"] not in ("ok", "skipped")]
    lines = ["", f"stress-ng, one second of each stressor with `--verify`, as an ordinary user ({span(stressors.values())}): {len(good)} "
             f"give the same outcome (ok) natively and in teacup: {', '.join(good)}."]
    if skipped:
        lines += ["", "Skipped natively, for want of privilege or of something in the host's kernel, or as stress-ng counts them "
                  f"as pathological: {', '.join(skipped)}."]
    if other:
        lines += ["", f"Not ok natively either: {', '.join(other)}."]
    return lines


def suite_lines(suite, runs, known):
    lines = [f"{suite}:", "", "| run | ok natively | ok in teacup | not ok natively either | differences | seen |",
             "| --- | ---: | ---: | ---: | ---: | --- |"]
    lines += [f"| {label} | {r['native']} | {r['guest']} | {r['bad'] if isinstance(r['bad'], int) else len(r['bad'])} | "
              f"{len(r['differences'])} | {when(r)} |" for label, r in runs.items()]
    bad = [case or f"{label} as a whole" for label, r in runs.items() if not isinstance(r["bad"], int) for case in r["bad"]]
    if bad:
        lines += ["", "Not ok natively either: " + ", ".join(bad) + "."]
    table = differences_table(runs.values(), known)
    return lines + ([""] + table if table else [])


def net_table(results, old=()):
    """The lines of the table: each workload's calls and how many of them the net served. A workload with runs whose calls
    nobody counted keeps its line of the old table."""
    lines = ["| workload | calls | by the net | share |", "| --- | ---: | ---: | ---: |"]
    found = {run: result.get("calls") for runs in results.values() for run, result in runs.items()}
    for title, labels in languages.WORKLOADS:
        labels = list(results.get("python", {})) if labels == "python" else labels
        counted = [found.get(label) for label in labels]
        if not counted or None in counted:
            missing = f"| {title} | not counted: {', '.join(label for label in labels if not found.get(label))} | | |"
            lines.append(next((line for line in old if line.startswith(f"| {title} |")), missing))
            continue
        rewritten, trapped = (sum(calls) for calls in zip(*counted))
        calls = rewritten + trapped
        share = 100 * trapped / calls if calls else 0
        over = " (over 0.1 %)" if share >= 0.1 and title not in languages.JITS else ""
        lines.append(f"| {title} | {calls:,} | {trapped:,} | {share:.4f} %{over} |")
    return lines


# ---- pages ----

def begin_of(suite):
    return f"<!-- written by scripts/conformance{' ' + suite if suite else ''}: begin -->"


def read_block(path, begin):
    """The lines between `begin` and END."""
    with open(path) as f:
        text = f.read()
    return text.partition(begin)[2].partition(END)[0].strip().splitlines()


def write_block(path, begin, lines):
    """Replaces what is between `begin`, which is the first of the lines, and END; appends it if it is not there."""
    block = "\n".join(lines + ["", END])
    try:
        with open(path) as f:
            text = f.read()
    except FileNotFoundError:
        text = "# " + os.path.basename(path).removesuffix(".md").capitalize() + "\n"
    if begin in text:
        start = text.index(begin)
        text = text[:start] + block + text[text.index(END, start) + len(END):]
    else:
        text = text.rstrip() + "\n\n" + block + "\n"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def in_order(runs, order):
    return {name: runs[name] for name in order if name in runs}


def write_documents(results, modules, suites, docs=os.path.join(ROOT, "docs")):
    """The tables of all results; modules and suites ({suite: labels}) give their order, and what is in neither is left out."""
    known, page = reasons(), os.path.join(docs, "compatibility.md")
    python, stress = in_order(results.get("python", {}), modules), dict(sorted(results.get("stress", {}).items()))
    table = differences_table([*python.values(), *stress.values()], known)
    write_block(page, begin_of(""), [begin_of(""), "", *python_lines(python), *stress_lines(stress),
                                     *(["", "Every difference:", "", *table] if table else [])])
    for suite, labels in suites.items():
        runs = in_order(results.get(suite, {}), labels)
        if runs:
            write_block(page, begin_of(suite), [begin_of(suite), "", *suite_lines(suite, runs, known)])
    page, begin = os.path.join(docs, "rewriting.md"), begin_of("").replace(": begin", ": calls served by the net: begin")
    kept = {**results, "python": python}
    write_block(page, begin, [begin, "", *net_table(kept, read_block(page, begin))])
