import pytest

import lungmask_jax as lj
from lungmask_jax.cli import main


@pytest.fixture
def metadata(tmp_path):
    """The list of three synthetic scans and their masks."""
    kinds = ("ct", "lungs", "infection")
    rows = ["ct_scan,lung_mask,infection_mask"]
    for seed in range(3):
        made = lj.phantom((6, 96, 96), disease=0.3, seed=seed)
        for kind in kinds:
            lj.save(getattr(made, kind), tmp_path / f"{kind}_{seed}.nii.gz")
        rows.append(",".join(f"{kind}_{seed}.nii.gz" for kind in kinds))
    path = tmp_path / "metadata.csv"
    path.write_text("\n".join(rows))
    return path


def test_the_command_trains_it_scores_it_and_segments_with_it(metadata):
    folder = metadata.parent
    network = "--model dlinknet --channels 4 8 --option dilations=[1,2]"
    weights = f"--weights lungs {folder}/mine.npz"
    for words in (
        f"train --data {metadata} {network} --steps 3 --batch-size 2 -o {folder}/mine.npz",
        f"evaluate --data {metadata} {weights} --worst 0 -o {folder}/scores",
        f"segment {folder}/ct_0.nii.gz {weights} -o {folder}/masks",
    ):
        assert main(words.split()) == 0
    assert (folder / "scores" / "cases.csv").is_file()
    assert list(folder.glob("masks/**/*infection*.nii.gz"))
