"""What W&B calls the rows of a table: `mer table` logs them, `mer wandb-report` finds them again."""

from mer.table_file import Table

PROJECT = "mer"
JOB_TYPE = "table row"


def table_name(table: Table) -> str:
    """``<paper's folder>/<table>``, as in ``laenet/table4``."""
    return f"{table.path.absolute().parent.name}/{table.path.stem}"
