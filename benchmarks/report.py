"""The tables of ``benchmarks.engine``."""

from __future__ import annotations

from typing import Any

COLUMNS = {
    "tokens_per_second": "tok/s",
    "steady_tokens_per_second": "steady",
    "first_token_p50_ms": "first p50",
    "first_token_p95_ms": "p95 ms",
    "gap_p50_ms": "gap p50",
    "gap_p99_ms": "p99 ms",
}
SAME_SIZE = {"bf16": "bfloat16", "q8_0": "int8"}
USUAL = {*COLUMNS, "slowest_round", "fastest_round", "tokens", "unfinished", "rounds"}


def show(result: dict[str, Any]) -> None:
    roofline = ", ".join(f"{name} {value}" for name, value in result["machine"]["roofline"].items())
    print(f"\n{result['model']}, {result['workload']}. Measured: {roofline}")
    for label, rows in result["cases"].items():
        show_case(label, rows, result)
    show_engines(result)
    if "quality" in result:
        print("\nOurs against float32: " + ", ".join(f"{name} {value}" for name, value in result["quality"].items()))


def show_case(label: str, rows: dict[str, dict[str, float]], result: dict[str, Any]) -> None:
    bounds, compared = result["bounds"].get(label, {}), result["compared_by"]
    more = list(dict.fromkeys(name for row in rows.values() for name in row if name not in USUAL))
    print(
        f"\n{label:<22}"
        + "".join(f"{title:>10}" for title in COLUMNS.values())
        + "   ours is of bound  "
        + "  ".join(more)
    )
    for name, row in rows.items():
        figures = "".join(f"{row[column]:>10g}" for column in COLUMNS)
        extra = "  ".join(f"{row[column]:>{len(column)}g}" if column in row else " " * len(column) for column in more)
        late = f"  ({row['unfinished']:g} unfinished)" if row["unfinished"] else ""
        beside = f"{ratio(rows, name, compared):>10}{share(row, bounds, result['engines'][name]):>9}"
        print(f"  {name:<20}{figures}{beside}  {extra}{late}")
    if bounds:
        print("  at most, by weights:  " + ", ".join(f"{dtype} {bound:g}" for dtype, bound in bounds.items()))


def ratio(rows: dict[str, dict[str, float]], name: str, compared: str) -> str:
    theirs = rows[name][compared]
    return f"{rows['ours'][compared] / theirs:.2f}x" if theirs and name != "ours" else ""


def share(row: dict[str, float], bounds: dict[str, float], engine: dict[str, Any]) -> str:
    """Of what the machine allows with the engine's own weights."""
    bound = bounds.get(SAME_SIZE.get(engine["weights"], engine["weights"]))
    return f"{row['steady_tokens_per_second'] / bound:.0%}" if bound else ""


def show_engines(result: dict[str, Any]) -> None:
    print("\nengine                weights      peak GB")
    for name, engine in result["engines"].items():
        print(f"  {name:<20}{engine['weights']:<12}{engine['peak_bytes'] / 1e9:>8.2f}  {result['notes'][name]}")
    for what in ("missing", "failed"):
        for name, why in result[what].items():
            print(f"  {name:<20}{what}: {why}")
