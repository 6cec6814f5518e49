"""What tuning on irises costs the model elsewhere: two lm-eval tasks of our own, in forgetting/."""

from importlib.util import find_spec

import pytest
from test_iris import TASK

from pytest_bettertogether import base_model, harness_task

OTHERS = [harness_task(f"forgetting/{name}.yaml", chat=True, multiturn=True) for name in ("shells", "stones")]


@pytest.mark.skipif(not find_spec("lm_eval"), reason="needs lm-eval: pip install 'pytest-bettertogether[lm-eval]'")
@pytest.mark.bettertogether(TASK, strategies=["pwp"])
def test_the_rest_is_not_forgotten(better_together):
    assert better_together().harness(OTHERS) >= base_model(within=25)
