"""Small made-up tables of the tasks of the card."""

from typing import Any

from tests.plots.tables import row

ARCHS = ("transformer", "lstm", "mamba")
BITS = {"transformer": 60_000, "lstm": 12_288, "mamba": 200_000, "gated_deltanet": 150_000}


def run(task: str, n: int, options: str = "", **changes: Any) -> dict[str, Any]:
    arch = changes.get("arch", "lstm")
    made = {"task": task, "family": "", "mode": "direct", "n": n, "options": options, "arch": arch, "lr": 3e-3}
    grows = 1_000 if arch == "transformer" else 0
    return row(**made | {"state_bits": BITS[arch], "state_bits_per_token": grows, "parameters": 1_000} | changes)


def rates() -> list[dict[str, Any]]:
    """Rows as `--choose lr` writes them: three architectures with a wide, no and a narrow window."""
    rows = []
    for arch, top, window in (
        ("transformer", 1.0, (1e-3, 1e-2)),
        ("lstm", 0.3, (3e-3, 3e-3)),
        ("mamba", 0.98, (3e-3, 1e-2)),
    ):
        low, high = window
        told = {"tried_lr": "0.001 0.003 0.01 0.03", "window_low": low, "window_high": high, "window_decades": 0.5}
        for rate in (1e-3, 3e-3, 1e-2, 3e-2):
            for seed in (0, 1):
                accuracy = max(0.15, (top if low <= rate <= high else 0.5 * top) - 0.02 * seed)
                more = {"chosen": 0, "converged": int(accuracy >= 0.9)}
                rows.append(
                    run("associative_recall", 16, arch=arch, lr=rate, seed=seed, accuracy=accuracy) | told | more
                )
        for seed in (2, 3):
            more = {"chosen": 1, "converged": int(top >= 0.9)}
            rows.append(run("associative_recall", 16, arch=arch, lr=3e-3, seed=seed, accuracy=top) | told | more)
    return rows


def query_first() -> list[dict[str, Any]]:
    return [
        run(task, n, options, arch=arch, size=size, state_bits=bits, accuracy=accuracy)
        for task in ("index", "position_retrieval")
        for n in (8, 16)
        for options, accuracy in (("", 0.4), ("query=first", 0.95))
        for arch, size, bits in (("lstm", "tiny+d_hidden=1", 64), ("lstm", "tiny", 4_096), ("mamba", "tiny", 200_000))
    ]


def tested(
    task: str, ns: tuple[int, ...], n: int, options: str, answers: tuple[str, ...], **changes: Any
) -> list[dict[str, Any]]:
    """Rows as `transfer` writes them: one for each answer."""
    return [
        run(task, n, options, tested_n=at, tested_options=options, tested_on="", answer=answer, **changes)
        | {"accuracy": max(0.5, 1 - 0.1 * ns.index(at)), "accuracy_low": 0.5, "accuracy_high": 1.0, "eval_samples": 100}
        for at in ns
        for answer in answers
    ]


def tracking() -> list[dict[str, Any]]:
    return [
        made
        for group in ("Z2", "S3")
        for arch in ARCHS
        for made in tested(
            "word_problem", (8, 16, 32), 16, f"group={group} elements=all ask=each", ("=x", "=y"), arch=arch
        )
    ]


def last_write() -> list[dict[str, Any]]:
    return [
        run("last_write", n, f"variables={m} values=8", arch=arch, accuracy=0.9 if arch == "lstm" else 0.6)
        for m in (4, 8)
        for n in (16, 32, 64)
        for arch in ARCHS
    ]


def find_path() -> list[dict[str, Any]]:
    ways = (("direct", "many"), ("cot", "many"), ("rag", "one"), ("rag", "many"))
    return [
        made
        for mode, calls in ways
        for arch in ARCHS
        for made in tested(
            "find_path",
            (10, 20, 40),
            10,
            f"names=40 ask=reach calls={calls}",
            ("[TRUE]", "[FALSE]"),
            arch=arch,
            mode=mode,
        )
    ]


def card() -> list[dict[str, Any]]:
    problems = (
        ("index", 16, "values=4", "direct", 0.5),
        ("index", 8, "values=4", "direct", 0.99),
        ("index", 16, "values=4 query=first", "direct", 0.97),
        ("index", 1000, "values=512", "direct", 0.05),
        ("last_write", 32, "variables=4 values=8", "direct", 0.93),
        ("word_problem", 16, "group=S3 elements=all ask=each", "direct", 0.4),
        ("find_path", 10, "names=40 ask=reach calls=many", "rag", 0.98),
    )
    return [
        run(task, n, options, arch=arch, mode=mode, accuracy=accuracy)
        for task, n, options, mode, accuracy in problems
        for arch in ARCHS
    ]
