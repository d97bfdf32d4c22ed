"""What was measured, and its reading against the targets."""
import json
import statistics

CANDIDATES = ("direct", "pgbouncer", "shardgate", "shardgate, 2 workers")


class Figure:
    """One row. `relative`: times and rates, which mean something only beside PgBouncer's of
    the same round. `target`: its text, and a function of the figure that says whether it is met."""

    def __init__(self, key, title, unit, relative, target=None, met=None, digits=2):
        self.key, self.title, self.unit, self.relative = key, title, unit, relative
        self.target, self._met, self.digits = target, met, digits
        self.rounds = {}  # candidate -> values

    def add(self, candidate, value):
        self.rounds.setdefault(candidate, []).append(value)

    def value(self, candidate="shardgate"):
        values = self.rounds.get(candidate)
        return statistics.median(values) if values else None

    def ratio(self, candidate="shardgate", base="pgbouncer"):
        """Median of the rounds' ratios."""
        pairs = zip(self.rounds.get(candidate, ()), self.rounds.get(base, ()))
        ratios = [value / other for value, other in pairs if other]
        return statistics.median(ratios) if ratios else None

    def range(self):
        """Least and greatest of shardgate's rounds, as text; nothing for a single round."""
        values = self.rounds.get("shardgate", ())
        if self.relative:
            values = [value / other for value, other in zip(values, self.rounds.get("pgbouncer", ())) if other]
        return f"{min(values):,.{self.digits}f}–{max(values):,.{self.digits}f}" if len(values) > 1 else ""

    def met(self):
        if self._met is None or not self.rounds.get("shardgate"):
            return None
        return bool(self._met(self))

    def cell(self, candidate):
        if self.relative:
            ratio = self.ratio(candidate)
            return "–" if ratio is None else f"{ratio:.2f}"
        value = self.value(candidate)
        return "–" if value is None else f"{value:,.{self.digits}f}"

    def as_dict(self):
        return {"key": self.key, "title": self.title, "unit": self.unit, "rounds": self.rounds,
                "median": {name: self.value(name) for name in self.rounds},
                "ratio_to_pgbouncer": {name: self.ratio(name) for name in self.rounds},
                "relative": self.relative, "digits": self.digits, "target": self.target, "met": self.met()}


class Book:
    """All figures of a run, in the order in which they were opened."""

    def __init__(self):
        self.figures = {}
        self.notes = []
        self.failures = []

    def figure(self, key, *args, **kw):
        if key not in self.figures:
            self.figures[key] = Figure(key, *args, **kw)
        return self.figures[key]

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)


def rows_of(figures):
    """The table, as lists of text."""
    rows = []
    for f in figures:
        met = {None: "", True: "yes", False: "no"}[f["met"]]
        rows.append([f"{f['title']}, {f['unit']}" if f["unit"] else f["title"], *f["cells"][:3], f["range"],
                     f["cells"][3], f["target"] or "", met])
    return rows


def heading():
    return ["figure", "direct", "PgBouncer", "shardgate", "its rounds", "2 workers", "target", "met"]


def text_table(figures):
    rows = [heading(), *rows_of(figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if i in (0, 6, 7) else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def markdown_table(figures):
    lines = ["| " + " | ".join(heading()) + " |", "| --- | ---: | ---: | ---: | --- | ---: | --- | --- |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows_of(figures)]
    return "\n".join(lines)


def document(book, machine, settings):
    figures = [{**f.as_dict(), "cells": [f.cell(name) for name in CANDIDATES], "range": f.range()}
               for f in book.figures.values()]
    return {"machine": machine, "settings": settings, "figures": figures, "notes": book.notes,
            "failures": book.failures}


def markdown(data):
    """What docs/benchmarks.md holds of a run."""
    lines = ["| machine | |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in data["machine"].items()]
    lines += ["", markdown_table(data["figures"])]
    for note in data["notes"]:
        lines += ["", f"- {note}"] if note == data["notes"][0] else [f"- {note}"]
    return "\n".join(lines)


def save(path, data):
    with open(path, "w") as f:
        json.dump(data, f, indent=1, ensure_ascii=False)
        f.write("\n")
