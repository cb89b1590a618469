"""Judging models and masks: what ``lungmask-jax evaluate`` does.

`evaluate` scores every case and sums up with uncertainty. Scores come in rows, one a case and
label: flat mappings that go into CSV and JSON as they are. Published benchmarks are here, too:
what they hold, how they are scored, and what others reached on them. Their data are not part of
this library; each protocol says where to get them.
"""

from lungmask_jax.evaluation._evaluate import evaluate
from lungmask_jax.evaluation._masks import SEEN, MaskPair
from lungmask_jax.evaluation._protocols import (
    PROTOCOLS,
    Protocol,
    covid19_ct_seg_cases,
    covid19_ct_seg_splits,
    covid_semiseg_pairs,
)
from lungmask_jax.evaluation._published import (
    Published,
    judge_covid19_ct_seg,
    judge_covid_semiseg,
)
from lungmask_jax.evaluation._report import Report
from lungmask_jax.evaluation._scores import (
    TEXTS,
    Comparison,
    Row,
    Summary,
    case_rows,
    compare,
    summarize,
)
from lungmask_jax.evaluation._tables import SHOWN
from lungmask_jax.evaluation._worst import Picture

__all__ = [
    "PROTOCOLS",
    "SEEN",
    "SHOWN",
    "TEXTS",
    "Comparison",
    "MaskPair",
    "Picture",
    "Protocol",
    "Published",
    "Report",
    "Row",
    "Summary",
    "case_rows",
    "compare",
    "covid19_ct_seg_cases",
    "covid19_ct_seg_splits",
    "covid_semiseg_pairs",
    "evaluate",
    "judge_covid19_ct_seg",
    "judge_covid_semiseg",
    "summarize",
]
