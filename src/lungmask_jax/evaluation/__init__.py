"""Evaluation of models and masks, as by ``lungmask-jax evaluate``.

`evaluate` scores every case and summarizes with confidence intervals. Scores are in rows, one per
case and label: flat mappings for CSV and JSON. Published benchmarks are here, too: their data,
scores and published results. The data are not part of this library; each protocol says where to
get them.
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
    evaluate_covid19_ct_seg,
    evaluate_covid_semiseg,
)
from lungmask_jax.evaluation._report import Report
from lungmask_jax.evaluation._scores import (
    Comparison,
    Row,
    Summary,
    case_rows,
    compare,
    summarize,
)
from lungmask_jax.evaluation._tables import SHOWN
from lungmask_jax.evaluation._worst import Beside, Picture

__all__ = [
    "PROTOCOLS",
    "SEEN",
    "SHOWN",
    "Beside",
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
    "evaluate_covid19_ct_seg",
    "evaluate_covid_semiseg",
    "summarize",
]
