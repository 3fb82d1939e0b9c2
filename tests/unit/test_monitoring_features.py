"""What is compared, and the sample of it that travels with a model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bento.runtime import Model
from bento.signature import NumberField
from pipelines.assessment.features import compared_columns, describe_columns, describe_outputs, describe_rows
from pipelines.assessment.reference import (
    REFERENCE_FILE,
    REFERENCE_ROWS,
    ReferenceBroken,
    keep_reference,
    load_reference,
)
from tests.monitoring_cases import PICTURES, SIGNATURE, VALUES, pictures, sizes
from tests.pipeline_cases import Lab, Stepwise
from tests.tiny_models import write_bento

ROWS = 6000


def distances(rows: int = ROWS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    temperature = rng.normal(50, 10, rows).astype("float32")
    temperature[::10] = np.nan
    return {
        "distance": rng.uniform(0, 3000, rows).astype("float32"),
        "temperature": temperature,
        "origin": rng.choice(["EWR", "JFK", "LGA"], rows).astype(object),
        "carrier": rng.choice(["UA", "B6", ""], rows).astype(object),
    }


def test_a_row_as_it_was_sent_and_as_the_model_took_it_are_described_alike():
    columns = sizes(50)
    columns["size"][3], columns["kind"][4] = np.nan, ""
    rows = [
        {"size": None if np.isnan(size) else float(size), "kind": kind or None}
        for size, kind in zip(columns["size"], columns["kind"], strict=True)
    ]

    pd.testing.assert_frame_equal(describe_rows(SIGNATURE, rows), describe_columns(SIGNATURE, columns))


def test_a_tenth_is_the_same_number_in_json_and_in_the_training_data():
    taken = describe_columns(SIGNATURE, {"size": np.array([0.1], "float32"), "kind": np.array(["a"], object)})

    assert describe_rows(SIGNATURE, [{"size": 0.1, "kind": "a"}])["size"][0] == taken["size"][0]


def test_pictures_sent_as_lists_are_described_as_those_of_the_training_data():
    images = pictures(30)
    rows = [{"image": image.tolist()} for image in images]

    pd.testing.assert_frame_equal(describe_rows(PICTURES, rows), describe_columns(PICTURES, {"image": images}))
    assert compared_columns(PICTURES) == dict.fromkeys(["image.mean", "image.contrast", "image.edges"], "image")


def test_edges_are_seen_in_both_directions_and_in_vectors():
    vertical, horizontal = np.zeros((1, 8, 8), "uint8"), np.zeros((1, 8, 8), "uint8")
    vertical[0, :, 4:], horizontal[0, 4:, :] = 200, 200
    across, down = (describe_columns(PICTURES, {"image": one})["image.edges"][0] for one in (vertical, horizontal))
    field = PICTURES.fields["image"].model_copy(update={"shape": (3,), "dtype": "float32"})
    vectors = PICTURES.model_copy(update={"fields": {"v": field}})

    assert across == down > 0
    assert describe_columns(vectors, {"v": np.array([[0, 1, 4]], "float32")})["v.edges"][0] == 2


@pytest.mark.parametrize("cell", [None, "dark", [[1, 2], [3, 4]], [[1], [1, 2]]])
def test_what_is_no_picture_is_missing(cell):
    assert describe_rows(PICTURES, [{"image": cell}, None, {}]).isna().all().all()


def test_a_million_pictures_need_no_copy_of_all_of_them():
    """Described in chunks: the float32 copy of uint8 pictures is four times their size."""
    images = pictures(2500)

    whole = describe_columns(PICTURES, {"image": images})["image.mean"]

    np.testing.assert_allclose(whole, images.reshape(2500, -1).mean(axis=1), rtol=1e-5)


def test_answers_are_described_by_class_and_confidence_or_by_value():
    answers = describe_outputs(SIGNATURE, np.array([[0.9, 0.1], [0.2, 0.8]], "float32"))
    values = describe_outputs(VALUES, np.array([[3.5], [4.0]], "float32"))

    assert answers.to_dict("list") == {"label": ["false", "true"], "confidence": pytest.approx([0.9, 0.8])}
    assert values.to_dict("list") == {"value": [3.5, 4.0]}


def test_the_reference_holds_a_sample_and_the_models_own_answers(tmp_path):
    model = write_bento(tmp_path) / "src" / "model"

    keep_reference(model, distances(), seed=1)
    found = load_reference(tmp_path)

    assert (found.bento, found.model) == ("tiny-table:1", "tiny-table/1")
    assert len(found.sample.inputs) == len(found.sample.predictions) == REFERENCE_ROWS
    row = found.sample.inputs.iloc[7]
    answer = Model.load(model).run({"distance": np.array([row["distance"]], "float32"), **_one(row)})
    assert found.sample.predictions["confidence"][7] == pytest.approx(answer.max(), abs=1e-6)
    assert found.sample.inputs["carrier"].isna().any()


def _one(row) -> dict[str, np.ndarray]:
    texts = {name: np.array([row[name] or ""], object) for name in ("origin", "carrier")}
    return {"temperature": np.array([row["temperature"]], "float32"), **texts}


def test_the_same_training_keeps_the_same_bytes_and_another_seed_another_sample(tmp_path):
    model = write_bento(tmp_path) / "src" / "model"
    kept = []
    for seed in (1, 1, 2):
        keep_reference(model, distances(), seed)
        kept.append((model / REFERENCE_FILE).read_bytes())

    assert kept[0] == kept[1] != kept[2]


def test_small_training_data_is_kept_whole(tmp_path):
    keep_reference(write_bento(tmp_path) / "src" / "model", distances(70), seed=1)

    assert len(load_reference(tmp_path).sample.inputs) == 70


def test_a_bento_without_a_sample_has_none_and_a_broken_one_says_which_file(tmp_path):
    file = write_bento(tmp_path) / "src" / "model" / REFERENCE_FILE

    assert load_reference(tmp_path).sample is None

    file.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ReferenceBroken, match=r"reference\.parquet cannot be read"):
        load_reference(tmp_path)


def test_a_sample_of_another_model_is_refused(tmp_path):
    model = write_bento(tmp_path) / "src" / "model"
    keep_reference(model, distances(), seed=1)
    signature = Model.load(model).signature
    extended = signature.model_copy(update={"fields": {**signature.fields, "pressure": NumberField()}})
    extended.write(model / "signature.json")

    with pytest.raises(ReferenceBroken, match=r"no column inputs\.pressure"):
        load_reference(tmp_path)


@pytest.mark.slow
def test_a_run_packs_the_sample_of_its_training_rows_into_the_bento(tmp_path, monkeypatch):
    lab = Lab(tmp_path / "checkout")
    for key, value in lab.environ().items():
        monkeypatch.setenv(key, value)
    run = Stepwise(lab).until("package")
    from pipelines.packaging.bentos import fetch_bento

    found = load_reference(fetch_bento(lab.settings.bentos, run.bento.image))

    assert found.bento == run.bento.tag
    assert len(found.sample.inputs) == run.candidate.train_rows
    assert replace(found, sample=None).signature.classes == (False, True)
