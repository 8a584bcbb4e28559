"""Two rows of a table against each other: McNemar's test on what each gets right. No torch."""

from mer.statistics import mcnemar
from mer.table_cells import NOT_RUN, Results
from mer.table_file import Table

CAUTION = "McNemar's test takes clips as independent; those of a subject are not, so p is rather too small."


def comparisons(table: Table, results: Results) -> list[str]:
    """A line for each pair of rows that the table compares, on each of its data, and what it rests on.

    The test is `mer.statistics.mcnemar`, on the pooled predictions of all folds, once a seed.

    Args:
        table: with the data and the seeds that ours ran on.
        results: by (variant, (data, protocol), seed); runs that are not complete are not compared.

    Raises:
        MerError: the two runs have other clips, labels or classes.
    """
    variants = {row.label: str(row.variant) for row in table.rows}
    lines = []
    for first, second in table.compare:
        for home in table.homes:
            each = []
            for seed in table.seeds:
                one, other = (results.get((variants[label], home, seed)) for label in (first, second))
                if one and other and one.complete and other.complete:
                    b, c, p = mcnemar(one.predictions, other.predictions)
                    each.append(
                        f"seed {seed}: {b} clips only the first gets right, {c} only the second, p = {p:.3g}"
                    )
            at = f" on `{home[0]}` ({home[1]})" if len(table.homes) > 1 else ""
            lines.append(f"McNemar's exact test, {first} against {second}{at}: {'; '.join(each) or NOT_RUN}.")
    return [*lines, CAUTION] if lines else []
