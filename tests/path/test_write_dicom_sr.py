"""A report (SR): a group of measurements a lesion, each of a segment that lies beside it."""

import json

import numpy as np
import pytest
from scipy import ndimage

from oncoseg import results
from oncoseg.case import Task
from oncoseg.report import report
from oncoseg.write import write_prediction
from oncoseg.write.codes import NEOPLASM

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
from objects import SHAPE, groups, predicted, scanned, values, volumes  # noqa: E402 - needs pydicom


def test_each_lesion_has_a_group_that_measures_its_own_segment(objects):
    _, found, made, sources = objects
    segs = {found[name].SOPInstanceUID: found[name] for name in ("seg", "lesions")}
    told = groups(found["sr"])
    wanted = ["WT", "TC", "ET"]
    for name, mask in made.masks.items():
        pieces = ndimage.label(mask, np.ones((3, 3, 3)))[0]
        sizes = np.bincount(pieces.ravel())[1:] * made.grid.voxel_volume
        wanted += [f"{name} {n + 1}" for n in range(int((sizes >= 50).sum()))]
    names = [group["Tracking Identifier"].replace(" (whole region)", "") for group in told]
    assert names == wanted
    assert len({group["Tracking Unique Identifier"] for group in told}) == len(told)
    for group in told:
        seg = segs[group["Referenced Segment"].ReferencedSOPInstanceUID]
        number = group["Referenced Segment"].ReferencedSegmentNumber
        mask = list(volumes(seg, made, sources).values())[number - 1]
        size, unit = group["Volume"]
        assert unit == "ml"
        assert size == pytest.approx(mask.sum() * made.grid.voxel_volume / 1000, abs=1e-4)
        assert group["Source Series for Segmentation"] == "1.2.826.0.1.3680043.8.498.2"
        assert (group["Finding"], group["Finding Site"]) == (NEOPLASM[0], "12738006")
        if seg is found["lesions"]:
            tracked = seg.SegmentSequence[number - 1]
            assert tracked.TrackingUID == group["Tracking Unique Identifier"]
            assert group["Long Axis"][1] == group["Short Axis"][1] == "mm"
            assert group["Diameter"][0] >= group["Long Axis"][0] >= group["Short Axis"][0] > 0


def test_its_numbers_are_those_of_the_report(tmp_path):
    results.save(predicted(scanned(tmp_path / "scan")), tmp_path / "out", kinds=["sr"])
    report(tmp_path / "out", findings=["shape"])
    plain = json.loads((tmp_path / "out" / "case 1.report.json").read_text(encoding="utf-8"))
    told = groups(pydicom.dcmread(tmp_path / "out" / "case 1.sr.dcm"))
    by = {one["Tracking Identifier"].replace(" (whole region)", ""): one for one in told}
    volumes = {row["region"]: row for row in plain["findings"]["volumes"]["rows"]}
    longest = {
        row["region"]: row["value"]
        for row in plain["findings"]["diameters"]["rows"]
        if row["name"] == "longest diameter"
    }
    for name, row in volumes.items():
        assert by[name]["Volume"] == (pytest.approx(row["value"], abs=5e-5), row["unit"])
        lesions = [one for key, one in by.items() if key.startswith(f"{name} ")]
        axes = [one["Long Axis"][0] for one in lesions]
        assert max(axes) == pytest.approx(longest[name], abs=5e-5)
    codes = {"surface area": "Surface Area of Mesh", "sphericity": "Sphericity"}
    codes |= {"elongation": "Elongation", "flatness": "Flatness"}
    rows = [row for row in plain["findings"]["shape"]["rows"] if row["name"] in codes]
    assert len(rows) >= 4
    for row in rows:
        value, unit = by[row["lesion"]][codes[row["name"]]]
        assert value == pytest.approx(row["value"], abs=5e-5)
        assert unit == {"mm²": "mm2", "": "1"}[row["unit"]]


def test_an_interval_is_how_far_the_volume_may_lie_above_and_below(tmp_path):
    made = predicted(scanned(tmp_path / "scan"))
    paths = write_prediction(made, tmp_path / "out", ["sr"])
    (content,) = [
        item
        for item in pydicom.dcmread(paths[-1]).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    ]
    found = {}
    for group in content.ContentSequence:
        name = values(group)["Tracking Identifier"]
        for item in group.ContentSequence:
            if item.ConceptNameCodeSequence[0].CodeMeaning == "Volume":
                found[name] = (values(group)["Volume"][0], values(item))
    value, ends = found["WT (whole region)"]
    assert ends["+, range of upper measurement uncertainty"][1] == "ml"
    assert value + ends["+, range of upper measurement uncertainty"][0] == pytest.approx(5.0)
    assert value - ends["-, range of lower measurement uncertainty"][0] == pytest.approx(0.5)
    assert not [name for name, (_, said) in found.items() if said and not name.startswith("WT (")]
    outside = write_prediction(made.but(intervals={"WT": (90.0, 99.0)}), tmp_path / "b", ["sr"])
    assert b"371886008" not in outside[-1].read_bytes()


def test_many_lesions_of_one_region_are_one_file(tmp_path):
    folder = scanned(tmp_path / "scan")
    label = np.zeros(SHAPE, np.uint8)
    label[1:5, 1:5, 1:4] = label[8:12, 1:5, 1:4] = label[1:5, 9:13, 1:4] = 1
    task = Task("t", ("t1",), {"lesion": 1}, {"lesion": ("lesion",)})
    paths = write_prediction(predicted(folder, label, task=task), tmp_path / "out", ["sr"])
    lesions = next(path for path in paths if "lesions" in path.name)
    seg = pydicom.dcmread(lesions)
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["lesion 1", "lesion 2", "lesion 3"]
    assert seg.NumberOfFrames == 9
    assert seg.pixel_array.sum() == label.sum()


@pytest.mark.parametrize("kinds", [("seg", "sr"), ("sr", "seg"), ("sr",)])
def test_a_report_refers_to_the_segmentations_beside_it(tmp_path, kinds):
    folder = scanned(tmp_path / "scan")
    paths = write_prediction(predicted(folder), tmp_path / "out", kinds)
    found = {path.name.split(".")[-2]: pydicom.dcmread(path) for path in paths}
    assert sorted(found) == ["lesions", "seg", "sr"]
    named = {group["Referenced Segment"].ReferencedSOPInstanceUID for group in groups(found["sr"])}
    assert named == {found["seg"].SOPInstanceUID, found["lesions"].SOPInstanceUID}


def test_the_same_result_is_tracked_by_the_same_uids(tmp_path):
    folder = scanned(tmp_path / "scan")
    told = []
    for out in ("a", "b"):
        paths = write_prediction(predicted(folder), tmp_path / out, ["sr"])
        told.append(groups(pydicom.dcmread(paths[-1])))
    key = "Tracking Unique Identifier"
    assert [group[key] for group in told[0]] == [group[key] for group in told[1]]
