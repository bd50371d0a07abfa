"""The tables of docs/finetuning.md, from the lines that `finetuning.py` wrote."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

VESSELS = ("artery", "vein", "collecting system")


def tables(lines: list[dict]) -> str:
    kinds = {
        "loop": loop_table,
        "effort": effort_table,
        "parts": parts_table,
        "rivals": parts_table,
        "partial": partial_table,
        "bad": bad_table,
    }
    found = []
    for kind, make in kinds.items():
        mine = [line for line in lines if line["experiment"] == kind]
        if mine:
            found.append(f"### {kind}\n\n{make(mine)}")
    return "\n\n".join(found)


def table(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        + ["| " + " | ".join(row) + " |" for row in body]
    )


def spread(values) -> str:
    """Give mean ± SD, or the value alone where there is one."""
    found = [float(each) for each in values]
    if len(found) == 1:
        return f"{found[0]:.3f}"
    return f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}"


def loop_table(lines: list[dict]) -> str:
    groups = defaultdict(list)
    for line in lines:
        groups[line["base"], line["site"], line["by"], str(line.get("changes") or ""), line["scans"]].append(
            line
        )
    rows = [["checkpoint", "new site", "corrected", "scans", "seeds", "new site F1", "old site F1", "in use"]]
    for (base, site, by, changes, scans), mine in sorted(groups.items()):
        used = sum(bool(each.get("activated", True)) for each in mine)
        rows.append(
            [
                base,
                site,
                f"{by}{changes}",
                str(scans),
                str(len(mine)),
                spread(np.mean(each["new"]) for each in mine),
                spread(np.mean(each["old"]) for each in mine),
                f"{used} of {len(mine)}" if scans else "",
            ]
        )
    return table(rows)


def effort_table(lines: list[dict]) -> str:
    rows = [
        ["checkpoint", "seed", "unseen scan", "scans learned", "wrong voxels at first", "actions", "seconds"]
    ]
    for line in lines:
        for scans, wrong, actions, seconds in line["rows"]:
            told = "not reached" if actions is None else str(actions)
            rows.append(
                [
                    line["base"],
                    str(line["seed"]),
                    str(line["on"]),
                    str(scans),
                    str(wrong),
                    told,
                    f"{seconds:.0f}",
                ]
            )
    return table(rows)


def parts_table(lines: list[dict]) -> str:
    groups = defaultdict(list)
    for line in lines:
        groups[line["base"], line["site"], line["arm"]].append(line)
    rows = [["checkpoint", "new site", "arm", "seeds", "new site F1", "old site F1", "guard"]]
    for (base, site, arm), mine in groups.items():
        told = [each["activated"] for each in mine if "activated" in each]
        guard = f"{len(told) - sum(told)} of {len(told)} refused" if told else "none"
        values = [spread(np.mean(each[where]) for each in mine) for where in ("new", "old")]
        rows.append([base, site, arm, str(len(mine)), *values, guard])
    return table(rows)


def partial_table(lines: list[dict]) -> str:
    rows = [["reviewed", "arm", "seed", "measured in", "recall before", "recall after", "mean F1"]]
    for line in lines:
        for where, before, after in (
            ("the rest", line["before"], line["after"]),
            ("the reviewed part", line["reviewed_before"], line["reviewed_after"]),
        ):
            recalls = [
                f"{np.mean(each['recall']):.3f} ({', '.join(f'{value:.2f}' for value in each['recall'])})"
                for each in (before, after)
            ]
            f1 = f"{np.mean(before['f1']):.3f} to {np.mean(after['f1']):.3f}"
            rows.append([line["what"], line["arm"], str(line["seed"]), where, *recalls, f1])
    return table(rows)


def bad_table(lines: list[dict]) -> str:
    rows = [["corrections", "rate", "seed", "what is told", "in use after", "finite"]]
    for line in lines:
        used = (
            "the new one" if line["activated"] else "the old one, unchanged" if line["same_active"] else "?"
        )
        rows.append(
            [line["what"], f"{line['rate']:g}", str(line["seed"]), line["told"], used, str(line["finite"])]
        )
    return table(rows)
